"""The encoder benchmark runs, and its claims about equality and memory hold; times are for an idle machine to judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "encoder.py"


@pytest.mark.slow
def test_last_line_holds_the_figures(segment_anything_encoder: type) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--repeats", "1"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures = json.loads(output.splitlines()[-1])
    speedups = {"speedup_fp32", "speedup_bf16", "speedup_auto"}
    assert set(figures) == speedups | {"memory_ratio", "max_rel_error", "bfloat16"}
    assert figures["max_rel_error"] < 1e-5
    assert 0 < figures["memory_ratio"] < 0.2
    assert figures["speedup_fp32"] > 1 and figures["speedup_auto"] > 1
