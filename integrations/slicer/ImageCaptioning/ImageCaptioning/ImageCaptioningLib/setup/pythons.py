"""Python of the captioner: Slicer's own where it is new enough, else another one of this computer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..captioners.local import plain_environment, quiet_start
from ..errors import CaptioningError
from ..words import _

OLDEST = (3, 11)
NAMES = ("PythonSlicer", "python3.11", "python3.12", "python3.13", "python3", "python", "py")
"""Names that are looked for, in this order; the first of them is Slicer's own."""
_PROBE = (
    "import json, sys; from importlib.util import find_spec; "
    "print(json.dumps([list(sys.version_info[:2]), find_spec('pip') is not None, sys.maxsize > 2**32]))"
)


@dataclass(frozen=True)
class Python:
    """A Python: its executable, ``(major, minor)``, whether it has pip and is a 64-bit one."""

    executable: Path
    version: tuple[int, int]
    has_pip: bool
    is_64_bit: bool

    @property
    def fault(self) -> str | None:
        """Why it cannot run the captioner; None where it can."""
        found, least = (".".join(map(str, numbers)) for numbers in (self.version, OLDEST))
        if self.version < OLDEST:
            return _("{python} is Python {found}, and {least} or later is needed").format(
                python=self.executable, found=found, least=least
            )
        if not self.has_pip:
            return _("{python} has no pip").format(python=self.executable)
        if not self.is_64_bit:
            return _("{python} is a 32-bit program").format(python=self.executable)
        return None


def look_at(executable: str | Path) -> Python:
    """Ask a Python what it is.

    Raises:
        CaptioningError: it cannot be started, or is no Python.
    """
    try:
        asked = subprocess.run(
            [str(executable), "-c", _PROBE], capture_output=True, text=True, timeout=60,
            env=plain_environment(), check=False, **quiet_start(),
        )  # fmt: skip
        version, has_pip, is_64_bit = json.loads(asked.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        raise CaptioningError(_("{python} is no Python that can be started").format(python=executable)) from None
    return Python(Path(executable), tuple(version), has_pip, is_64_bit)


def choose_python(asked: str | Path | None = None, names: Iterable[str] = NAMES) -> Python:
    """The Python that the user named, else the first that fits.

    Raises:
        CaptioningError: the named one does not fit, or none does.
    """
    if asked:
        python = look_at(asked)
        if python.fault:
            raise CaptioningError(_("{fault}: choose another Python").format(fault=python.fault))
        return python
    faults = []
    for executable in _found(names):
        try:
            python = look_at(executable)
        except CaptioningError as error:
            faults.append(str(error))
            continue
        if not python.fault:
            return python
        faults.append(python.fault)
    reason = "; ".join(faults) or _("no Python was found")
    raise CaptioningError(
        _("{reason}: install Python {least} and name it under 'Python', or use Slicer 5.10 or later").format(
            reason=reason, least=".".join(map(str, OLDEST))
        )
    )


def _found(names: Iterable[str]) -> list[str]:
    found = [shutil.which(name) for name in names]
    if "PythonSlicer" in names and not found[0]:
        found.append(sys.executable)
    return list(dict.fromkeys(path for path in found if path))
