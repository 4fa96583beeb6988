"""The soak at the size of a smoke test: a real service, two clients, some seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def test_a_short_soak_of_the_service_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SOAK), "--smoke", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures["service_requests"] >= 2
    assert figures["service_lost_saves"] == figures["service_unexpected"] == 0, done.stderr[-2000:]
    assert figures["service_mib"] > 100 and figures["service_p99_s"] >= figures["service_p50_s"] > 0
    assert (tmp_path / "soak_service.png").read_bytes().startswith(b"\x89PNG")
