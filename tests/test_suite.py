"""``make test`` itself: a worker that is killed, as for memory, fails the run within seconds instead of hanging it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"


def test_a_killed_worker_fails_the_run(tmp_path: Path) -> None:
    options = re.search(r"-m pytest (-n 2 .*)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert options, "make test runs pytest with workers"
    dying = "import os, signal\n\ndef test_dies(): os.kill(os.getpid(), signal.SIGKILL)\n\ndef test_after(): pass\n"
    (tmp_path / "test_dying.py").write_text(dying)
    for number in range(3):
        (tmp_path / f"test_other{number}.py").write_text("def test_other(): pass\n")
    command = [sys.executable, "-m", "pytest", *options.group(1).split(), "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "crashed" in done.stdout
