"""Packages in a folder of their own, put there by pip: no other Python sees them, and removing is deleting."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..captioners.local import plain_environment, quiet_start
from ..errors import CaptioningError
from ..jobs import Progress
from ..words import _
from .pythons import Python

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of builds without CUDA, an eighth of the size."""


def install_packages(
    python: Python,
    requirements: Sequence[str],
    folder: Path,
    progress: Progress,
    *,
    wheels: Path | None = None,
    cpu_only: bool = True,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Install wheels into ``folder``, which is replaced only when all are there.

    Args:
        python: whose pip, and for whom.
        requirements: such as ``numpy==2.4.6``.
        folder: where the packages go.
        progress: told each package; cancels.
        wheels: a folder of wheels: nothing is fetched then.
        cpu_only: look for PyTorch at `CPU_INDEX` first.
        variables: environment of pip.

    Raises:
        CaptioningError: pip failed; its last error is in the sentence.
    """
    fresh, temporary = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".tmp")
    for leftover in (fresh, temporary):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.mkdir(parents=True)
    try:
        command = _command(python, requirements, fresh, wheels, cpu_only)
        _run(command, {**(variables or {}), **_temporary(temporary)}, progress, len(requirements))
        progress.check()
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        for leftover in (fresh, temporary):
            shutil.rmtree(leftover, ignore_errors=True)


def missing_packages(requirements: Sequence[str], folder: Path) -> list[str]:
    """Requirements that ``folder`` does not have, and packages in it that lost files: read off pip's own records."""
    found = {_plain(name): version for name, version, _information in _installed(folder)}
    missing = []
    for requirement in requirements:
        name, version = requirement.split("==")
        if not _fits(found.get(_plain(name), ""), version):
            missing.append(requirement)
    return missing + [
        name for name, _version, information in _installed(folder) if not _has_its_files(information, folder)
    ]


def _fits(found: str, wanted: str) -> bool:
    """Whether an installed version is the one, or one of those, that ``wanted`` (``2.13.0``, ``2.13.*``) means."""
    found = found.split("+")[0]  # 2.13.0+cpu is a build of 2.13.0
    return f"{found}.".startswith(wanted[:-1]) if wanted.endswith(".*") else found == wanted


def _installed(folder: Path) -> list[tuple[str, str, Path]]:
    """Name, version and record of each package."""
    found = []
    for information in sorted(folder.glob("*.dist-info")):
        name, _dash, version = information.name.removesuffix(".dist-info").rpartition("-")
        found.append((name, version, information))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _has_its_files(information: Path, folder: Path) -> bool:
    """Whether the files that a package's RECORD lists are there with their sizes (scripts, which pip moves, aside)."""
    try:
        lines = (information / "RECORD").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    for line in lines:
        path, _sum, size = (line.rsplit(",", 2) + ["", ""])[:3]
        path = path.strip('"')
        if path.startswith("..") or path.endswith(".pyc") or not size.isdigit():
            continue
        file = folder / path
        if not file.is_file() or file.stat().st_size != int(size):
            return False
    return True


def _command(
    python: Python, requirements: Sequence[str], target: Path, wheels: Path | None, cpu_only: bool
) -> list[str]:
    command = [str(python.executable), "-m", "pip", "install", "--no-user", "--disable-pip-version-check"]
    command += ["--no-input", "--only-binary", ":all:", "--no-compile", "--progress-bar", "off"]
    command += ["--target", str(target)]
    if wheels is not None:
        if not wheels.is_dir():
            raise CaptioningError(_("{folder} is no folder of wheels").format(folder=wheels))
        command += ["--no-index", "--find-links", str(wheels)]
    elif cpu_only:
        command += ["--extra-index-url", CPU_INDEX]
    return [*command, *requirements]


def _temporary(folder: Path) -> dict[str, str]:
    """Where pip unpacks: beside the target, so that nothing stays behind elsewhere."""
    return {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}


def _run(command: list[str], variables: Mapping[str, str], progress: Progress, count: int) -> None:
    own_group = {} if sys.platform == "win32" else {"start_new_session": True}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace", env=plain_environment(variables), **own_group, **quiet_start(),
    )  # fmt: skip
    ended = threading.Event()
    watch = threading.Thread(target=_end_when_cancelled, args=(process, progress, ended), daemon=True)
    watch.start()
    seen, errors = 0, []
    try:
        for line in process.stdout:
            line = line.strip()
            progress.log(line)
            if line.startswith(("Collecting ", "Processing ")):
                seen += 1
                # Requirements bring others along: the share approaches, but never reaches, the whole.
                progress.fraction = 0.9 * seen / (seen + count)
                progress.text = _("package {name}").format(name=Path(line.split()[1]).name)
            elif line.startswith("Installing collected"):
                progress.text, progress.fraction = _("unpacking the packages"), None
            elif line.startswith("ERROR"):
                errors.append(line.removeprefix("ERROR:").strip())
        code = process.wait()
    finally:
        ended.set()
        watch.join()
    progress.check()
    if code != 0:
        reason = errors[-1] if errors else _("pip ended with {code}").format(code=code)
        raise CaptioningError(_("the packages could not be installed: {reason}").format(reason=reason[:300]))


def _end_when_cancelled(process: subprocess.Popen, progress: Progress, ended: threading.Event) -> None:
    """End pip and what it started as soon as the job is cancelled."""
    while not ended.wait(0.1):
        if not progress.cancelled:
            continue
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        return
