"""A forked program does what the same program does in an interpreter of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forked_program import ForkedProgram, run_program

PROGRAM = """
import atexit, logging, os, signal, sys, threading, time, warnings
from multiprocessing import get_context
import beside

def square(number):
    return number * number

if __name__ == "__main__":
    atexit.register(print, "at the end")
    threading.Thread(target=lambda: (time.sleep(0.2), print("from a thread"))).start()
    print(sys.argv, os.getcwd(), os.environ.get("SAID"), sys.stdin.read(), beside.__file__, sys.path[0])
    print([signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)], "conftest" in sys.modules)
    with get_context("fork").Pool(1) as pool:
        print(pool.map(square, [3]), flush=True)
    logging.warning("logged"), logging.info("not logged")
    warnings.warn("a warning", UserWarning)
    print("to stderr", file=sys.stderr, flush=True)
    {ending}
"""


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "sys.exit('a sentence')", "raise ValueError('wrong')"])
@pytest.mark.parametrize("module", [False, True])
def test_it_is_as_in_an_interpreter_of_its_own(tmp_path: Path, ending: str, module: bool) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.format(ending=ending))
    (tmp_path / "beside.py").touch()
    words = [*(["-m", "program"] if module else [str(tmp_path / "program.py")]), "--given", "1"]
    there = {**os.environ, "SAID": "by the caller"}
    real = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=there, input="typed", capture_output=True, text=True, check=False
    )
    forked = run_program(*words, cwd=tmp_path, env={"SAID": "by the caller"}, given="typed")
    assert forked.returncode == real.returncode
    assert sorted(forked.stdout.splitlines()) == sorted(real.stdout.splitlines())  # the thread is early or late
    assert forked.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]
    assert [word in forked.stderr for word in ("WARNING:root:logged", "UserWarning: a warning")] == [True, True]
    assert "at the end" in forked.stdout and "not logged" not in forked.stderr


def test_packages_that_are_asked_for_are_imported_anew(tmp_path: Path) -> None:
    import scripts

    copy = tmp_path / "scripts"
    copy.mkdir()
    (copy / "__init__.py").touch()
    (tmp_path / "program.py").write_text("import scripts; print(scripts.__file__)")
    there = {"PYTHONPATH": str(tmp_path)}
    found = [run_program(str(tmp_path / "program.py"), env=there, fresh=fresh).stdout for fresh in ((), ["scripts"])]
    assert [Path(file.strip()) for file in found] == [Path(scripts.__file__), copy / "__init__.py"]


def test_it_is_told_to_end_and_does_not_outlive_its_time(tmp_path: Path) -> None:
    waits = tmp_path / "waits.py"
    waits.write_text("import time; print('ready', flush=True); time.sleep(600)")
    with open(os.devnull) as nothing, (tmp_path / "out").open("w") as out:
        program = ForkedProgram([str(waits)], stdin=nothing, stdout=out, stderr=out)
        while not (tmp_path / "out").read_text():
            assert program.poll() is None
        program.send_signal(signal.SIGTERM)
        assert program.wait() == -signal.SIGTERM
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(str(waits), timeout=0.5)
