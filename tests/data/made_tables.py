"""Files that made data sets consist of: pictures, volumes, tables, JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = "ct of the chest showing one nodule in the head"


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = seed or zlib.crc32(path.name.encode())
    grey = np.random.default_rng(seed).integers(0, 255, (40, 36), dtype=np.uint8)
    Image.fromarray(grey).save(path)


def volume(path: Path, seed: int = 0) -> None:
    """Stored values of a CT: HU + 1024, which no header says."""
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed + 1)
    hu = np.full((40, 36, 12), -1000.0)
    hu[8:32, 8:28] = draw.normal(40, 20, (24, 20, 12))
    image = nib.Nifti1Image((hu + 1024).astype(np.int16), np.diag([0.8, 0.8, 2.0, 1.0]))
    nib.save(image, path)


def table(path: Path, columns: Sequence[str] | None, rows: Sequence[Sequence[Any]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerows(([columns] if columns else []) + [list(row) for row in rows])
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def plain(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def as_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    plain(path, [json.dumps(row) for row in rows])
