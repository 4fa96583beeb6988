"""Captions of a file or folder, the quick way.

    python -m scripts.commands.caption PATH --output_dir OUT [--set NAME=VALUE ...] [--resident MINUTES]

gives what ``python -m monai.bundle run --config_file configs/inference.json --dataset_dir PATH`` gives, by a start
without MONAI. With ``--resident`` the loaded captioner stays so many minutes after its last caption, and the next
command that asks for the same finds it; 0, the default, leaves nothing behind.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts import BUNDLE
from scripts.commands import resident
from scripts.errors import InputError, WeightsError, sentence
from scripts.given_values import typed_settings

if TYPE_CHECKING:
    from scripts.commands.caption_run import CaptionRun


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 1 if any image could not be captioned."""
    given = _parser().parse_args(arguments)
    try:
        settings = typed_settings(given.set)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    what = {"bundle": str(Path(given.bundle).resolve()), "config": given.config, "settings": settings}
    work = cache(partial(_loaded, what))
    if given.serve:
        os.chdir("/")
        resident.serve(Path(given.serve), 60 * given.resident, lambda job: _caption(work, job))
        return 0
    job = {"source": given.source, "output_dir": given.output_dir}
    path = resident.socket_path(what) if given.resident > 0 else None
    loading = path is None or not path.exists()
    print(
        f"For research, not for diagnosis. Captioning {given.source}"
        + ("; the network is being loaded ..." if loading else ""),
        flush=True,
    )
    code = None if path is None else resident.ask(path, job, _server(given, what["bundle"], path))
    return _caption(work, job) if code is None else code


def _server(given: argparse.Namespace, bundle: str, path: Path) -> list[str]:
    """The command of a captioner that stays; it shows no path of an image to who lists processes."""
    settings = [word for item in given.set for word in ("--set", item)]
    same = ["--config", *given.config, "--bundle", bundle, "--resident", str(given.resident), *settings]
    return [sys.executable, "-m", "scripts.commands.caption", "-", "--output_dir", "-", *same, "--serve", str(path)]


def _caption(work: Callable[[], CaptionRun], job: Mapping[str, Any]) -> int:
    """Do a job in this process; errors that a user can cause are printed as their sentences."""
    try:
        return int(work()(job["source"], job["output_dir"]) > 0)
    except (InputError, WeightsError, RuntimeError) as error:
        if (text := sentence(error)) is None:
            raise
        print(f"error: {text}", file=sys.stderr)
        return 1


def _loaded(what: Mapping[str, Any]) -> CaptionRun:
    # torch, some seconds: not for a command that finds a captioner
    from scripts.commands.caption_run import CaptionRun
    from scripts.kernels.free_cores import follow_free_cores

    follow_free_cores()
    return CaptionRun(what["bundle"], what["config"], **what["settings"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a file, a folder, or a datalist")
    parser.add_argument("--output_dir", required=True, help="folder of captions.jsonl")
    parser.add_argument("--bundle", default=BUNDLE, help="the bundle folder")
    parser.add_argument("--config", nargs="+", default=["configs/inference.json"], help="relative to the bundle folder")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the config")
    parser.add_argument("--resident", type=float, default=0.0, metavar="MINUTES", help="stay so long; 0: not at all")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
