"""Packages and programs that scores are made with: their versions, and files that they bring."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("numpy", "pycocoevalcap", "bert-score")


@lru_cache(maxsize=1)
def java_version() -> str | None:
    """First line of ``java -version``, or None where there is no Java."""
    if shutil.which("java") is None:
        return None
    result = subprocess.run(["java", "-version"], capture_output=True, text=True)
    return (result.stderr or result.stdout).splitlines()[0].strip()


def installed(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of Python, and of each package; None for one that is absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def installed_file(package: str, name: str) -> Path | None:
    """A file that a package has brought along, such as ``meteor/meteor-1.5.jar``; the package is not imported."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations or [] if spec else []
    return next((file for folder in folders if (file := Path(folder) / name).is_file()), None)


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that scores depend on, and of Java; absent ones are left out."""
    return {name: text for name, text in {**installed(_PACKAGES), "java": java_version()}.items() if text}
