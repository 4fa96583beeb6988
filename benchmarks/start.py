"""Starts: what importing costs by module, a cold start with and without our own Llama and tokenizer, `make caption`.

    .venv/bin/python benchmarks/start.py [--quick | --smoke] [--repeats N]

Every figure is of processes of their own, the sides in turns, medians; wall seconds and, beside them, processor
seconds, which a busy machine disturbs less.

* imports: of `scripts.predictor` (captioning without MONAI) and of `monai.bundle`, by top-level package, each with
  what it takes itself (`python -X importtime`).
* cold start: a process that loads the captioner and captions one image with two tokens, with our own Llama and
  tokenizer (`scripts/generation/llama.py`, `tokenizer.py`) and with those of `transformers`. The second implementation
  stays only while it saves a user more than 1.5 s.
* `make caption`: `python -m scripts.commands.caption` on the four samples: until its first word, until its end, and
  until the end of a second call that finds the captioner of the first.

The last line is one JSON object: `import_seconds`, `monai_import_seconds`, `own_llama_saves` (wall seconds),
`own_llama_saves_cpu`, `cold_seconds`, `first_word_seconds`, `command_seconds`, `second_call_seconds`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
SHOWN = 12  # packages of a table

CAPTION = """
import sys
if {transformers}:
    import transformers.modeling_utils
from scripts.predictor import CaptionPredictor
import numpy as np
predictor = CaptionPredictor.from_bundle({bundle!r}, num_beams=1, max_new_tokens=2, device="cpu")
predictor.caption(np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64))
own = "scripts.generation.llama" in sys.modules and "transformers.models.llama.modeling_llama" not in sys.modules
assert own != {transformers}, "the other language model was loaded"
"""


class Taken(NamedTuple):
    """Seconds of a process: by the clock, of processors, and until it first wrote a line."""

    wall: float
    cpu: float
    first: float


def environment(**more: str) -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(BUNDLE)}
    return {**os.environ, **offline, **more}


def timed(command: Sequence[str], **more: str) -> Taken:
    """Run a command to its end."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, env=environment(**more), stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        first = time.perf_counter() - start
        process.stdout.read()
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with code {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(wall, cpu, first)


def import_times(module: str) -> dict[str, float]:
    """Seconds that importing a module takes, by top-level package, its own time only."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    found: dict[str, float] = defaultdict(float)
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            found[parts[2].strip().partition(".")[0]] += int(parts[0]) / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def show_imports(module: str) -> float:
    """Print the table; returns all seconds."""
    found = import_times(module)
    whole = sum(found.values())
    print(f"\nimport {module}: {whole:.2f} s")
    for name, seconds in list(found.items())[:SHOWN]:
        print(f"  {name:24}{seconds:7.3f} s  {seconds / whole:4.0%}")
    return whole


def cold_starts(repeats: int) -> tuple[Taken, Taken]:
    """Medians of cold starts with our own language model and with that of `transformers`."""
    taken: dict[bool, list[Taken]] = {False: [], True: []}
    for _ in range(repeats):
        for theirs in taken:
            program = CAPTION.format(transformers=theirs, bundle=str(BUNDLE))
            taken[theirs].append(timed([sys.executable, "-W", "ignore", "-c", program]))
    own, theirs = (Taken(*map(statistics.median, zip(*taken[side], strict=True))) for side in (False, True))
    print(f"\ncold start and a first caption of two tokens, median of {repeats} in turns")
    print(f"  our Llama and tokenizer  {own.wall:6.2f} s, of processors {own.cpu:6.2f} s")
    print(f"  those of transformers    {theirs.wall:6.2f} s, of processors {theirs.cpu:6.2f} s")
    return own, theirs


def commands(quick: bool) -> tuple[Taken, Taken]:
    """`make caption` on the samples, without its set-up: a first call and a second."""
    from scripts.commands.samples import write_samples

    folder = Path(tempfile.mkdtemp(prefix="start"))
    try:
        write_samples(folder / "in")
        if quick:
            for path in sorted((folder / "in").iterdir())[1:]:
                path.unlink()
        command = [sys.executable, "-m", "scripts.commands.caption", str(folder / "in"), "--resident", "0.1"]
        command += ["--output_dir", str(folder / "out"), *(("--set", "max_new_tokens=2") if quick else ())]
        first, second = (timed(command, XDG_RUNTIME_DIR=str(folder)) for _ in range(2))
        _wait_for_end(folder)
    finally:
        shutil.rmtree(folder)
    print("\nmake caption: until the first word, until the end")
    for name, taken in (("first call", first), ("second call", second)):
        print(f"  {name:24} {taken.first:6.2f} s {taken.wall:6.2f} s")
    return first, second


def _wait_for_end(folder: Path) -> None:
    """Until the captioner that stayed has ended, so that nothing of this benchmark outlives it."""
    while list(folder.glob("msmedcap-*/*.sock")):
        time.sleep(0.2)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument("--smoke", action="store_true", help="one repeat, one image, two tokens")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(given)
    repeats = 1 if options.quick or options.smoke else options.repeats
    sys.path.insert(0, str(BUNDLE))
    light, monai = show_imports("scripts.predictor"), None if options.smoke else show_imports("monai.bundle")
    own, theirs = cold_starts(repeats)
    first, second = commands(options.smoke)
    report: dict[str, Any] = {
        "import_seconds": light,
        "monai_import_seconds": monai,
        "own_llama_saves": theirs.wall - own.wall,
        "own_llama_saves_cpu": theirs.cpu - own.cpu,
        "cold_seconds": own.wall,
        "first_word_seconds": first.first,
        "command_seconds": first.wall,
        "second_call_seconds": second.wall,
    }
    print(json.dumps({name: value and round(value, 3) for name, value in report.items()}))


if __name__ == "__main__":
    main()
