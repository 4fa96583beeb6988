"""Writes the line into an environment that checks ``python -m monai.bundle`` before MONAI sees its arguments.

    .venv/bin/python tools/command_line_hook.py bundle

Python runs lines of ``.pth`` files that begin with ``import`` at every start. This one does nothing unless the command
is ``-m monai.bundle``; then it hands `scripts.command_line.as_typed` the arguments and ends the program with its
sentence where they cannot be meant. Without it (an environment that was not made by ``make``) configs check
themselves, except for a config that does not exist.

Where the configs are this bundle's own, it also says at once that the program is loading, and keeps back what MONAI
tells about any run: that configs can run code, and which arguments were given.
"""

from __future__ import annotations

import argparse
import logging
import os
import runpy
import site
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

NAME = "msmedcap_command_line.pth"
_CHECKED = "_msmedcap_checked"  # of `sys`: a virtual environment runs the lines of its ``.pth`` files twice
_LINE = (
    "import sys, os; b = {bundle!r}; "
    "'monai.bundle' in sys.orig_argv and os.path.isfile(b + '/scripts/command_line.py') and "
    "exec(open({hook!r}).read(), {{'BUNDLE': b, '__name__': 'hook'}})\n"
)


def install(bundle: Path, packages: Path) -> Path:
    """Write the line for the bundle in ``bundle`` into ``packages``, an environment's site-packages."""
    path = packages / NAME
    path.write_text(_LINE.format(bundle=str(bundle.resolve()), hook=str(Path(__file__).resolve())), encoding="utf-8")
    return path


def check(bundle: str) -> None:
    """Replace the program's arguments, or end it: called at start-up, where exceptions would only be printed."""
    at = _module_at(sys.orig_argv)
    if at is None or hasattr(sys, _CHECKED):
        return
    setattr(sys, _CHECKED, True)
    sys.path.insert(0, bundle)
    try:
        from scripts.command_line import as_typed, config_files

        sys.argv[1:] = as_typed(sys.orig_argv[at + 1 :])
        files = config_files(sys.argv[1:]) if sys.argv[1:2] in (["run"], ["run_workflow"]) else []
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    finally:
        sys.path.remove(bundle)
        for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
            del sys.modules[name]  # the command may run another bundle than the one this environment was made with
    if _are_below(files, bundle):
        _keep_back()
        if os.environ.get("RANK", "0") == "0":
            line = runpy.run_path(str(Path(bundle).parent / "tools" / "waiting_line.py"))["WaitingLine"]
            line("Loading MONAI, the network and its weights").begin()


def _are_below(files: Iterable[Path], bundle: str) -> bool:
    files = list(files)
    return bool(files) and all(file.resolve().is_relative_to(Path(bundle).resolve()) for file in files)


def _keep_back() -> None:
    """Nothing of MONAI's stands in front of what the program says: its warnings stay, but for the one about configs."""
    warnings.filterwarnings("ignore", message="parsing config_file ")
    for name in ("monai.bundle.scripts", "monai.bundle.workflows"):
        logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)


def _module_at(words: list[str]) -> int | None:
    """Where "monai.bundle" stands as what Python itself runs, not as an argument of another program."""
    for at, word in enumerate(words[1:], 1):
        if word == "-m":
            return at + 1 if words[at + 1 : at + 2] == ["monai.bundle"] else None
        if not word.startswith("-"):
            return None
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder whose command_line.py checks the arguments")
    print(install(parser.parse_args().bundle, Path(site.getsitepackages()[0])))
elif __name__ == "hook":
    check(globals()["BUNDLE"])
