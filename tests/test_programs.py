"""Every program answers ``--help``: it says what it does, explains its arguments, and touches nothing."""

from __future__ import annotations

import argparse
import runpy
import signal
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
CHILDREN = {"scripts.reading.dicom.gdcm_worker"}  # started by another module only, with pipes
PROGRAMS = ("tools/*.py", "studies/*/*.py")


def _modules() -> list[str]:
    files = [path for path in sorted((BUNDLE / "scripts").rglob("*.py")) if _is_program(path)]
    names = [".".join(path.relative_to(BUNDLE).with_suffix("").parts).removesuffix(".__main__") for path in files]
    return [name for name in names if name not in CHILDREN]


def _files() -> list[str]:
    files = [path for pattern in PROGRAMS for path in sorted(ROOT.glob(pattern)) if _is_program(path)]
    return [str(path.relative_to(ROOT)) for path in files]


def _is_program(path: Path) -> bool:
    return '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8") or path.name == "__main__.py"


@pytest.fixture
def parsers(monkeypatch: pytest.MonkeyPatch) -> list[argparse.ArgumentParser]:
    """The parsers that were asked to parse, in order."""
    asked: list[argparse.ArgumentParser] = []
    usual = argparse.ArgumentParser.parse_known_args

    def parse(self: argparse.ArgumentParser, *given: object, **named: object) -> object:
        asked.append(self)
        return usual(self, *given, **named)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
    return asked


@pytest.mark.parametrize("program", [*_modules(), *_files()])
def test_help(
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parsers: list[argparse.ArgumentParser],
) -> None:
    # a program's own handler would stay in this process, and children that are told to end would not
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.getsignal(number))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    monkeypatch.setattr(sys, "path", [str((ROOT / program).parent), *sys.path])
    with pytest.raises(SystemExit) as end, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is loaded already: it is run anew
        if program.endswith(".py"):
            runpy.run_path(str(ROOT / program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__")
    assert not end.value.code
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ") and not list(tmp_path.iterdir())
    (parser,) = parsers
    assert parser.description and len(parser.description.split()) > 4, "it does not say what it does"
    unexplained = [action.dest for action in parser._actions if not action.help]
    assert not unexplained, f"these are not explained: {unexplained}"
