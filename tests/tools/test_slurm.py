"""``tools/slurm.sbatch`` with stand-ins for SLURM's commands: who is told to stop, and when the job is queued again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

if shutil.which("bash") is None:
    pytest.skip("needs bash", allow_module_level=True)

SCRIPT = Path(__file__).parents[2] / "tools" / "slurm.sbatch"
COMMANDS = {
    # a run that saves for a moment after SIGTERM, and ends with a code that is not 0, as torchrun does
    "srun": 'trap "sleep 0.3; echo saved >> $LOG; exit 1" TERM; echo $$ > $LOG.pid; '
    'for i in $(seq "$STEPS"); do sleep 0.05; done; echo finished >> $LOG',
    "scancel": 'echo "scancel $*" >> $LOG; kill -TERM "$(cat $LOG.pid)"',
    "scontrol": '[ "$1" = show ] && echo node1 || echo "scontrol $*" >> $LOG',
}


def started(folder: Path, steps: int) -> subprocess.Popen[bytes]:
    """The script as a batch job, whose run takes so many twentieths of a second if nobody stops it."""
    for name, body in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    told = {"SLURM_CPUS_PER_TASK": "1", "SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1", "SLURM_JOB_ID": "7"}
    told |= {"LOG": str(folder / "log"), "STEPS": str(steps), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen(["bash", str(SCRIPT)], env={**os.environ, **told}, cwd=folder)


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 20
    while not path.is_file() or not path.read_text().strip():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_near_the_limit_the_run_saves_before_the_job_is_queued_again(tmp_path: Path) -> None:
    job = started(tmp_path, steps=400)
    wait_for(tmp_path / "log.pid")
    job.send_signal(signal.SIGUSR1)
    assert job.wait(20) == 1
    assert (tmp_path / "log").read_text().splitlines() == ["scancel --signal=TERM 7", "saved", "scontrol requeue 7"]


def test_a_run_that_ends_by_itself_is_not_queued_again(tmp_path: Path) -> None:
    assert started(tmp_path, steps=1).wait(20) == 0
    assert (tmp_path / "log").read_text().splitlines() == ["finished"]


def test_a_cancelled_job_is_not_queued_again(tmp_path: Path) -> None:
    job = started(tmp_path, steps=20)
    wait_for(tmp_path / "log.pid")
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == -signal.SIGTERM
    assert "requeue" not in ((tmp_path / "log").read_text() if (tmp_path / "log").is_file() else "")
