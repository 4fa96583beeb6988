"""Python programs in forked processes: what ``subprocess`` would start, without the seconds that their imports take.

A child is what a fresh interpreter would be, but that libraries and the bundle's ``scripts`` are loaded: arguments,
folder, environment, streams, signals, warnings, logging and ``sys.path`` are its own, and modules of tests and of
benchmarks are not there. Where a test is about what a program imports or how it starts, it takes ``subprocess``.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import multiprocessing.util
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from child_process import own_locks

ROOT = Path(__file__).resolve().parents[1]
_OWN = (str(ROOT / "tests"), str(ROOT / "benchmarks"))
_QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


class ForkedProgram:
    """``python WORDS``, started; much like ``subprocess.Popen``.

    Args:
        words: a script and its arguments, or ``-m``, a module and its arguments.
        cwd: folder in which it runs; that of the tests by default.
        env: its environment; that of the tests by default.
        stdin, stdout, stderr: open files.
        fresh: packages that it imports anew, as where another copy of them is on its path.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: IO[Any],
        stdout: IO[Any],
        stderr: IO[Any],
        fresh: Sequence[str] = (),
    ) -> None:
        self.returncode: int | None = None
        streams = [stream.fileno() for stream in (stdin, stdout, stderr)]
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_program(list(words), cwd, env, streams, fresh)

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        if self.returncode is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired: it still runs."""
        ends = time.monotonic() + (600 if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired("forked program", timeout or 600)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def run_program(
    *words: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: str = "",
    timeout: float = 280,
    fresh: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """``python WORDS`` to its end, with ``given`` as its standard input and ``env`` beside the tests' environment."""
    with contextlib.ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3))
        stdin.write(given)
        stdin.seek(0)
        environment = {**os.environ, **(env or {})}
        program = ForkedProgram(words, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, fresh=fresh)
        try:
            code = program.wait(timeout)
        finally:
            program.send_signal(signal.SIGKILL)
        for stream in (stdout, stderr):
            stream.seek(0)
        return subprocess.CompletedProcess([sys.executable, *words], code, stdout.read(), stderr.read())


def _be_the_program(
    words: list[str], cwd: Path | None, env: Mapping[str, str] | None, streams: list[int], fresh: Sequence[str]
) -> None:
    """Never returns."""
    code = 1
    try:
        gc.freeze()  # pages that the parent shares stay shared
        _own_streams(streams)
        _own_state()
        _own_places(words, cwd, env)
        _forget(fresh)
        code = _run(words)
        threading._shutdown()  # waits for threads, as an interpreter's end does
        atexit._run_exitfuncs()
        multiprocessing.util._exit_function()
    except BaseException:
        sys.__excepthook__(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _own_streams(streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", closefd=False)


def _own_state() -> None:
    """Nothing of the test runner's."""
    own_locks()
    atexit._clear()
    sys.excepthook = sys.__excepthook__
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        if signal.getsignal(number) != signal.SIG_IGN:  # what nohup and the like ignore stays ignored
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for handler in logging.root.handlers[:]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(logging.WARNING)
    warnings.resetwarnings()
    for kind in _QUIET:
        warnings.simplefilter("ignore", kind)
    warnings.showwarning = _show_warning


def _show_warning(message: Any, category: type, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """As Python does, but for the line of the source; ITK puts a form of its own in the place of Python's."""
    print(f"{filename}:{lineno}: {category.__name__}: {message}", file=file or sys.stderr)


def _own_places(words: list[str], cwd: Path | None, env: Mapping[str, str] | None) -> None:
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix)) or path.endswith(".zip")]
    first = os.getcwd() if words[0] == "-m" else str(Path(words[0]).resolve().parent)
    sys.path[:] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *installed]


def _forget(packages: Sequence[str]) -> None:
    """Modules of tests and benchmarks, and of these packages, are not loaded."""
    for name, module in list(sys.modules.items()):
        own = str(getattr(module, "__file__", None) or "").startswith(_OWN)
        if own or name.partition(".")[0] in packages:
            del sys.modules[name]


def _run(words: list[str]) -> int:
    """The program's exit code."""
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0
