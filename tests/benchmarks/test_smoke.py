"""Each benchmark runs to its last line, at the size of a smoke test: its figures mean nothing there, its keys do."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from forked_program import run_program
from installed_browser import needs_browser

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
KEYS = {
    "training_step": {"stage1_speedup", "stage2_speedup", "stage1_cache_only", "stage2_cache_only", "activation_ratio"},
    "generation": {"batch1_speedup", "batch8_speedup", "tokens_equal"},
    "tuning_step": {"float32", "starter", "starter_speedup", "bfloat16_units"},
    "encoder": {"speedup_fp32", "speedup_bf16", "memory_ratio", "max_rel_error"},
    "caption": {
        "tuned_over_naive",
        "ours_over_blip2",
        "starter_seconds",
        "starter_speedup",
        "starter_captions_equal",
        "starter_floor",
        "starter_folder_speedup",
    },
    "busy_machine": {"busy_speedup", "idle_speedup"},
    "caption_loss": {"float32_speedup", "float32_memory"},
    "start": {"import_seconds", "cold_seconds", "first_word_seconds", "command_seconds", "second_call_seconds"},
    "gpu": {"stage 1 from images", "stage 2 from cached tokens", "captions, batch 1", "encoder detail"},
    "reading": {"slice_over_pydicom", "series_over_itkreader", "gzip_4d_over_nibabel"},
    "service": {"sequential_per_s", "eight_clients_per_s", "eight_over_sequential", "p95_s", "replies_equal"},
    "page": {"first_paint_ms", "first_words_s", "slice_ms", "slice_p95_ms"},
    "datalist": {"rows", "build_seconds", "check_seconds", "iterate_seconds", "shuffled_seconds"},
    "leaks": {"recall_everything", "false_alarms", "clean_images", "images_per_second"},
    "volumes": {"middle_seconds", "even_8_seconds", "informative_8_mib"},
}


def test_every_benchmark_has_a_smoke_run() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    import run_all

    assert {path.stem for path in run_all.benchmarks()} == set(KEYS)


@pytest.mark.parametrize("name", [pytest.param(k, marks=needs_browser) if k == "page" else k for k in KEYS])
def test_a_benchmark_runs_to_its_last_line(name: str) -> None:
    done = run_program(str(BENCHMARKS / f"{name}.py"), "--smoke")
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert KEYS[name] <= set(figures)
    for key in KEYS[name]:
        value = figures[key]
        assert value is True or (math.isfinite(value) and value >= 0), f"{key}: {value}"
