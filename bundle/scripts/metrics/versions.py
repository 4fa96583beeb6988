"""Versions of the software that made a score."""

from __future__ import annotations

import platform
import shutil
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("numpy", "pycocoevalcap", "bert-score")


@lru_cache(maxsize=1)
def java_version() -> str | None:
    """First line of ``java -version``, or None where there is no Java."""
    if shutil.which("java") is None:
        return None
    result = subprocess.run(["java", "-version"], capture_output=True, text=True)
    return (result.stderr or result.stdout).splitlines()[0].strip()


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that scores depend on, and of Java; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    java = java_version()
    return {**found, "java": java} if java else found
