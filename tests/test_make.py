"""The Makefile as a newcomer meets it: all targets are listed, and a refusal does not look like a crash."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _make(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def test_help_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    shown = _make("help").stdout
    assert targets == set(re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE)) and {"caption", "test"} <= targets
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize("words", [["caption", "IMAGE=/nowhere.png"], ["starter"], ["setup", "PYTHON=true"]])
def test_a_refusal_is_one_sentence_and_a_code_for_scripts(words: list[str], tmp_path: Path) -> None:
    ready = tmp_path / ".ready"  # as if set up, but for the last, whose Python is to be refused
    samples = tmp_path / "samples"
    samples.mkdir()
    for file in (ready, samples / ".ready"):
        file.touch()
    if words[0] == "setup":
        (tmp_path / "python").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1\n')
        (tmp_path / "python").chmod(0o755)
        words = ["setup", f"PYTHON={tmp_path / 'python'}"]
        ready = tmp_path / ".absent"
    done = _make(*words, f"READY={ready}", f"SAMPLES={samples}")
    assert done.returncode == -signal.SIGPIPE, done
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "make: ***" not in done.stderr
    assert "3.9.1" in done.stderr or words[0] != "setup"


def test_make_runs_captions_with_a_quiet_failure() -> None:
    recipe = MAKEFILE[MAKEFILE.index("\ncaption:") :].split("\n\n")[0]
    assert recipe.rstrip().endswith("|| $(QUIETLY_FAILED)")


LINE = "import sys, time; sys.path.insert(0, {tools!r}); from waiting_line import WaitingLine; "
SPEAK = LINE + "WaitingLine('Loading', interval=0.01).begin(); time.sleep(0.1); print('caption')"


def test_the_waiting_line_is_one_line_in_a_log() -> None:
    code = SPEAK.format(tools=str(ROOT / "tools"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "caption\n" and done.stderr == "Loading ...\n"


def test_the_waiting_line_counts_on_a_terminal_and_is_wiped_out() -> None:
    code = SPEAK.format(tools=str(ROOT / "tools"))
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs) as process:
        process.wait()
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    before, wiped, after = shown.partition("\r\x1b[K")
    assert before.startswith("\rLoading ... 0 s") and wiped and after.strip() == "caption"
