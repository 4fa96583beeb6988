"""``python -m scripts.commands.caption``: the lines of `inference.json`, without MONAI; sentences for errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forked_program import run_program
from scripts.commands.samples import write_samples

QUICK = ["--set", "abstain_below=0", "--set", "num_beams=2", "--set", "max_new_tokens=16", "--set", "device=cpu"]


def caption(bundle_root: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "scripts.commands.caption", *arguments]
    return subprocess.run(command, cwd=bundle_root, capture_output=True, text=True, timeout=280)


def forked(bundle_root: Path, *words: str) -> subprocess.CompletedProcess:
    """The same where it is not about the start."""
    return run_program("-m", *words, cwd=bundle_root, env={"PYTHONPATH": str(bundle_root)})


def test_it_writes_what_the_run_of_the_config_writes(bundle_root: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_samples(source)
    (source / "broken.png").write_bytes(b"\x89PNG no more")
    done = caption(bundle_root, str(source), "--output_dir", str(tmp_path / "quick"), *QUICK)
    assert done.returncode == 1, done.stderr[-2000:]  # of the broken file
    assert done.stdout.startswith(
        f"For research, not for diagnosis. Captioning {source}; the network is being loaded ...\n"
    )
    assert "4 of 5 images captioned" in done.stdout and "broken.png" in done.stderr
    values = [word.removeprefix("--set").replace("=", " ", 1) for word in QUICK if word != "--set"]
    words = [part for value in values for part in (f"--{value.split()[0]}", value.split()[1])]
    run = ["monai.bundle", "run", "--config_file", "configs/inference.json", *words]
    run += ["--dataset_dir", str(source), "--output_dir", str(tmp_path / "slow")]
    assert forked(bundle_root, *run).returncode == 1
    quick, slow = (
        [json.loads(line) for line in (tmp_path / name / "captions.jsonl").read_text().splitlines()]
        for name in ("quick", "slow")
    )
    for one, other in zip(quick, slow, strict=True):
        assert_alike({**one, "trace": None}, {**other, "trace": None})
    trace = [record["trace"]["settings"] for record in (*quick, *slow)]
    assert trace.count(trace[0]) == len(trace)


def assert_alike(one: object, other: object) -> None:
    """Equal, numbers to 1e-4: with MONAI the language model is that of `transformers`, which rounds differently."""
    if isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_alike(*pair)
    else:
        assert one == (pytest.approx(other, abs=1e-4) if isinstance(other, float) else other)


def test_errors_are_sentences(bundle_root: Path, tmp_path: Path) -> None:
    for wrong, said in (("weights=absent.pt", "absent.pt"), ('outputs=["jpeg"]', "jpeg"), ("num_beams", "KEY=VALUE")):
        words = [str(tmp_path), "--output_dir", str(tmp_path / "out"), "--set", wrong]
        done = forked(bundle_root, "scripts.commands.caption", *words)
        assert done.returncode == 1
        assert said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_neither_monai_nor_transformers_is_imported(bundle_root: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_samples(source)
    program = (
        "import sys\n"
        "from scripts.commands.caption_run import CaptionRun\n"
        "assert CaptionRun('.', num_beams=1, max_new_tokens=2)(*sys.argv[1:]) == 0\n"
        "print([name for name in ('monai', 'transformers', 'ignite', 'matplotlib') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", program, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=bundle_root, capture_output=True, text=True, timeout=280)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr[-2000:]
