"""ImageCLEF's submission file: ``ID,Caption``, one row an image, in the order of the test images.

    python -m scripts.metrics.submission captions.jsonl submission.csv [--images FOLDER_OR_LIST]

An image's ID is its file's name without ending. The campaign refuses a file with an ID too many or too few, so given
the test images (a folder, or a file with one name or ID a line) this does, too.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from scripts.atomic import write_text_atomically
from scripts.errors import InputError
from scripts.metrics.pairs import read_items

_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm", ".nii.gz", ".nii")


def image_id(name: str) -> str:
    """``test/ImageCLEF_000001.jpg`` -> ``ImageCLEF_000001``."""
    last = PurePosixPath(name.replace("\\", "/")).name
    ending = next((ending for ending in _ENDINGS if last.lower().endswith(ending)), "")
    return last[: len(last) - len(ending)]


def write_submission(captions: str | Path, output: str | Path, images: str | Path | None = None) -> int:
    """Write the submission of a file of captions; returns the number of rows.

    Args:
        captions: ``captions.jsonl`` of inference or evaluation, or another file that `read_items` reads.
        output: the CSV.
        images: the test images, a folder or a list; rows then come in that order.

    Raises:
        InputError: an ID occurs twice, an image has no caption, or a caption no image.
    """
    found: dict[str, str] = {}
    repeated = Counter()
    for item in read_items(captions):
        name = image_id(item.image)
        repeated[name] += 1
        found[name] = " ".join(item.captions[0].split())
    if twice := [name for name, count in repeated.items() if count > 1]:
        raise InputError(
            f"{captions}: {len(twice)} IDs occur more than once, first '{twice[0]}'; keep one caption each."
        )
    wanted = list(found) if images is None else _wanted(Path(images))
    if missing := [name for name in wanted if not found.get(name)]:
        raise InputError(f"{captions}: {len(missing)} test images have no caption, first '{missing[0]}'; caption them.")
    if extra := set(found) - set(wanted):
        raise InputError(
            f"{captions}: {len(extra)} captions are of no test image, first '{min(extra)}'; leave them out."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("ID", "Caption"), *((name, found[name]) for name in wanted)])
    write_text_atomically(output, text.getvalue())
    return len(wanted)


def _wanted(images: Path) -> list[str]:
    if images.is_dir():
        names = sorted(file.name for file in images.iterdir() if file.name.lower().endswith(_ENDINGS))
    elif images.is_file():
        lines = images.read_text(encoding="utf-8-sig").splitlines()
        names = [line.split(",")[0].split("\t")[0].strip() for line in lines if line.strip()]
        names = names[1:] if names and names[0] in ("ID", "id") else names
    else:
        raise InputError(f"{images} does not exist; give the folder of the test images, or a file with their IDs.")
    if not names:
        raise InputError(f"{images} names no test image.")
    return [image_id(name) for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.metrics.submission", description=__doc__.splitlines()[0])
    parser.add_argument("captions", help="captions.jsonl of a run")
    parser.add_argument("output", help="the .csv to write")
    parser.add_argument("--images", help="folder of the test images, or a file with their IDs")
    given = parser.parse_args(arguments)
    try:
        count = write_submission(given.captions, given.output, given.images)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.output}: {count} captions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
