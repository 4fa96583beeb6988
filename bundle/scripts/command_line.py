"""Arguments of ``python -m monai.bundle``, checked before anything runs, and handed on as they were typed.

MONAI's command line takes Python literals and its own marks out of arguments: a folder named ``1001`` becomes a number,
``a,b`` two values, ``@arch`` a reference, ``%20x`` a file to insert. It takes options that no config knows without a
word, and answers a config that does not exist with a traceback. `as_typed` says what to hand it instead.

It is called twice: by a line that `make` writes into the project's environment (`tools/command_line_hook.py`), before
MONAI starts, and by the configs themselves (`check_command`), for environments that were made in another way.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import NOT_EXPORTED, InputError, show_sentences

_PATHS = ("dataset_dir", "datalist", "output_dir", "feature_cache_dir", "bundle_root", "weights", "pretrained")
"""Options whose value is a path, whatever it looks like."""
_RUN = ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")
_RUN += ("workflow_name", "workflow_type", "properties_path")
"""Parameters of ``monai.bundle run`` and ``run_workflow`` themselves."""
_TRACKING = ("experiment_name", "run_name", "tracking_uri", "save_execute_config")
_EXPORTS = ("ckpt_export", "onnx_export", "trt_export")
_AGAIN = "MSMEDCAP_ARGUMENTS_CHECKED"


def as_typed(arguments: Sequence[str]) -> list[str]:
    """Arguments after ``-m monai.bundle``, with paths quoted where MONAI would take them for something else.

    Raises:
        InputError: a config file does not exist, no config knows an option, or a captioner is to be exported.
    """
    arguments = list(arguments)
    if arguments and arguments[0] in _EXPORTS:
        _check_export(arguments)
    if not arguments or arguments[0] not in ("run", "run_workflow"):
        return arguments
    given = options_of(arguments)
    known = _known_options(config_files(arguments))
    if known:
        for name in given:
            _check_option(name, known, "tracking" in given)
    dropped = set()
    for name in _PATHS:
        if name in given:
            position, joined, value = given[name]
            quoted = _quoted_path(value, known)
            if quoted != value:
                arguments[position] = f"--{name}={quoted}"
                dropped |= set() if joined else {position + 1}
    return [argument for k, argument in enumerate(arguments) if k not in dropped]


def check_command() -> None:
    """Check the running command; where MONAI has read a path wrongly, start the same command again with it quoted.

    Configs call it in ``initialize``. Does nothing in other programs, which hand paths over as text.

    Raises:
        InputError: as `as_typed`.
    """
    if not sys.argv or not sys.argv[0].endswith(os.path.join("monai", "bundle", "__main__.py")):
        return
    show_sentences()
    wanted = as_typed(sys.argv[1:])
    if wanted != sys.argv[1:] and os.environ.get(_AGAIN) != "1":
        os.environ[_AGAIN] = "1"
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "monai.bundle", *wanted])


def options_of(arguments: Sequence[str]) -> dict[str, tuple[int, bool, str]]:
    """Name -> (position, whether the value stands behind "=", the value) of each option."""
    found: dict[str, tuple[int, bool, str]] = {}
    at = 0
    while at < len(arguments):
        argument = arguments[at]
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            follows = not equals and at + 1 < len(arguments) and not arguments[at + 1].startswith("--")
            if follows:
                value = arguments[at + 1]
            found[name.replace("-", "_")] = (at, bool(equals), value)
            at += follows
        at += 1
    return found


def _check_export(arguments: Sequence[str]) -> None:
    """Refuse to export a network that generates; parts of one, and networks of other bundles, go on to MONAI.

    Raises:
        InputError: the network that ``net_id`` names is one.
    """
    given = options_of(arguments)
    net = given["net_id"][2] if "net_id" in given else "network_def"
    for file in config_files(arguments):
        content = json.loads(file.read_text(encoding="utf-8")) if file.suffix == ".json" else {}
        part = content.get(net)
        if isinstance(part, dict) and str(part.get("_target_", "")).startswith("scripts.networks."):
            raise InputError(NOT_EXPORTED)


def config_files(arguments: Sequence[str]) -> list[Path]:
    """The files of :func:`named_configs`, all of which exist: one path or a bracketed list.

    Raises:
        InputError: one does not.
    """
    names = named_configs(arguments)
    for name in names:
        if not Path(name).is_file():
            raise InputError(_no_config(name))
    return [Path(name) for name in names]


def named_configs(arguments: Sequence[str]) -> list[str]:
    """What ``--config_file`` names, whether it exists or not; nothing in other programs."""
    given = options_of(arguments)
    text = given["config_file"][2] if "config_file" in given else ""
    if not text:
        return []
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text if Path(text).is_file() else text.split(",")
    return [str(name).strip() for name in (value if isinstance(value, (list, tuple)) else [value])]


def _no_config(name: str) -> str:
    folder = Path(name).parent
    beside = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
    nearest = difflib.get_close_matches(Path(name).name, beside, 1)
    if nearest:
        return f"config_file {name} does not exist; did you mean {folder / nearest[0]}?"
    where = f"; there is {', '.join(beside[:12])}" if beside else "; commands run from the bundle's folder"
    return f"config_file {name} does not exist{where}"


def _known_options(files: list[Path]) -> set[str]:
    """Top-level keys of the configs; empty where one of them cannot be read here (YAML), so that nothing is refused."""
    known: set[str] = set()
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return set()
        known |= {_first_part(key) for key in content} if isinstance(content, dict) else set()
    return known


def _first_part(key: str) -> str:
    return re.split(r"#|::", key.lstrip("+~"), maxsplit=1)[0]


def _check_option(name: str, known: set[str], tracked: bool) -> None:
    first = _first_part(name)
    if first in known or name in _RUN or (tracked and name in _TRACKING):
        return
    offered = sorted(key for key in known if not key.startswith("_")) + list(_RUN)
    nearest = difflib.get_close_matches(first, offered, 1, cutoff=0.5)
    hint = f"did you mean --{nearest[0]}?" if nearest else "see the keys of the config file"
    raise InputError(f"option --{name} is not known to these configs; {hint}")


def _quoted_path(value: str, known: set[str]) -> str:
    """``value``, or what MONAI takes as this very text: a quoted literal that begins with no mark of a config."""
    if not value or value[0] in "'\"":
        return value
    exists = os.path.lexists(value)
    if value[0] in "@$%":
        refers = value[0] == "@" and re.split(r"#|::", value[1:], maxsplit=1)[0] in known
        calls = value[0] == "$" and re.fullmatch(r"\$[\w.\- ]+", value) is None
        if not exists and (refers or calls or (value[0] == "%" and "::" in value)):
            return value  # a reference, an expression, a macro: meant for MONAI
        return repr(os.path.join(".", value))
    return value if _stays_text(value) else repr(value)


def _stays_text(value: str) -> bool:
    """Whether Fire hands a bare word on as it is: not where it is, or would become, a Python literal or a comment."""
    if not re.fullmatch(r"[\w./\-~ ]+", value) or value.startswith("-"):
        return False
    try:
        return isinstance(ast.literal_eval(value), str)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value.strip() == value
