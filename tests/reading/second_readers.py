"""Other readers of the same files, and a table of who agrees.

    PYTHONPATH=bundle .venv/bin/python tests/reading/second_readers.py

SimpleITK (DICOM through GDCM), DCMTK (``dcmdjpeg``, ``dcmdjpls``, ``dcmdrle``, and ``dcm2pnm`` for look-up tables),
nibabel, tifffile and Pillow. Each stops where it stops: at stored values, or after the look-up tables that it knows. A
reader agrees where it gives what was written, up to the scale of its output.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2] / "bundle"), str(HERE.parent)]

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
import tifffile  # noqa: E402
from made_kinds import MAKERS, Made  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless, RLELossless  # noqa: E402

HAS_DCMTK = all(shutil.which(tool) for tool in ("dcmdjpeg", "dcmdjpls", "dcmdrle", "dcm2pnm"))
_UNPACKERS = {JPEGLosslessSV1: "dcmdjpeg", JPEGLSLossless: "dcmdjpls", RLELossless: "dcmdrle"}


def simpleitk(path: Path) -> np.ndarray | None:
    """The middle slice of the first volume, ``[C, H, W]``."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        return None
    array = SimpleITK.GetArrayFromImage(image)
    components = image.GetNumberOfComponentsPerPixel()
    array = array if components > 1 else array[..., None]
    while array.ndim > 4:
        array = array[0]
    if array.ndim == 4:
        array = array[len(array) // 2]
    return array.transpose(2, 0, 1)


def dcmtk(path: Path) -> np.ndarray | None:
    """Stored values of a compressed DICOM file, unpacked by DCMTK and taken from the bytes that it writes."""
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if not HAS_DCMTK or syntax not in _UNPACKERS:
        return None
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.dcm"
        done = subprocess.run([_UNPACKERS[syntax], str(path), str(plain)], capture_output=True, check=False)
        if done.returncode:
            return None
        made = pydicom.dcmread(plain)
    kind = np.dtype(f"{'i' if made.PixelRepresentation else 'u'}{made.BitsAllocated // 8}")
    count = made.Rows * made.Columns * made.SamplesPerPixel
    values = np.frombuffer(made.PixelData, kind, count)
    if made.SamplesPerPixel == 1:
        return _sign_extended(values.reshape(1, made.Rows, made.Columns), made.BitsStored)
    if made.get("PlanarConfiguration"):
        return values.reshape(3, made.Rows, made.Columns)
    return values.reshape(made.Rows, made.Columns, 3).transpose(2, 0, 1)


def _sign_extended(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype.kind == "u":
        return values
    spare = 8 * values.dtype.itemsize - bits
    return (values << spare) >> spare


def dcm2pnm(path: Path) -> np.ndarray | None:
    """What DCMTK shows after its look-up tables, from 0 to 1."""
    made = pydicom.dcmread(path, stop_before_pixels=True)
    if not HAS_DCMTK:
        return None
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder) / "shown.png"
        voi = ["+Wl", "1"] if "VOILUTSequence" in made else []
        if subprocess.run(
            ["dcm2pnm", *voi, "+on2", str(path), str(shown)], capture_output=True, check=False
        ).returncode:
            return None
        array = np.asarray(Image.open(shown)).astype(np.float64)
    top = 65535.0 if array.max() > 255 else 255.0
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return array / top


def by_nibabel(path: Path) -> np.ndarray | None:
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    if array.ndim == 5:
        return array[:, :, array.shape[2] // 2, 0].transpose(2, 1, 0)
    array = array[..., 0] if array.ndim == 4 else array
    return (array[:, :, array.shape[2] // 2] if array.ndim == 3 else array).T[None]


def by_tifffile(path: Path) -> np.ndarray | None:
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        array = page.asarray()
        if array.ndim == 2:
            return array[None]
        return array if page.planarconfig == 2 else array.transpose(2, 0, 1)


def by_pillow(path: Path) -> np.ndarray | None:
    try:
        array = np.asarray(Image.open(path))
    except OSError:
        return None
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


Reader = Callable[[Path], np.ndarray | None]
_BY_ENDING: dict[str, dict[str, Reader]] = {
    ".dcm": {"SimpleITK": simpleitk, "DCMTK": dcmtk}, ".tif": {"tifffile": by_tifffile, "Pillow": by_pillow},
    ".nii": {"nibabel": by_nibabel, "SimpleITK": simpleitk}, ".gz": {"nibabel": by_nibabel, "SimpleITK": simpleitk},
    ".nrrd": {"SimpleITK": simpleitk}, ".mha": {"SimpleITK": simpleitk},
}  # fmt: skip
_TABLES = ("LUT", "palette", "HighBit")


def readers_of(made: Made) -> dict[str, Reader]:
    """Who is asked about a file."""
    if any(word in made.kind for word in _TABLES):
        return {"DCMTK": dcm2pnm}
    return _BY_ENDING[made.path.suffix]


def agrees(made: Made, reader: Reader) -> bool | None:
    """Whether a reader gives what was written; None where it does not read the file."""
    try:
        found = reader(made.path)
    except Exception:  # another reader's refusal has many kinds
        return None
    if found is None:
        return None
    if reader is dcm2pnm:
        return _same_scaled(found, made.expected)
    for wanted in (made.expected, made.stored):
        if wanted is not None:
            part = found[: len(wanted)]
            if part.shape == wanted.shape and np.abs(part.astype(float) - wanted).max() <= made.tolerance:
                return True
    return False


def _same_scaled(shown: np.ndarray, expected: np.ndarray) -> bool:
    """Equal up to one linear scale: DCMTK stretches to what its output holds; steps of its output are tolerated."""
    if shown.shape[1:] != expected.shape[1:]:
        return False
    pairs = zip(np.broadcast_to(shown, expected.shape).reshape(-1), expected.reshape(-1).astype(float), strict=True)
    x, y = np.array(list(pairs)).T
    slope, offset = np.polyfit(y, x, 1)
    return bool(slope > 0 and np.abs(slope * y + offset - x).max() < 1.5 / 255)


def table(folder: Path) -> str:
    """Markdown: kinds, files, how many this package and each reader read as written."""
    names = ("SimpleITK", "DCMTK", "nibabel", "tifffile", "Pillow")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rules: dict[str, str] = {}
    for maker in MAKERS:
        for made in maker(folder):
            row = counts[made.kind]
            row["files"] += 1
            row["ours"] += ours(made)
            rules[made.kind] = made.rule
            for name, reader in readers_of(made).items():
                vote = agrees(made, reader)
                row[f"{name} asked"] += vote is not None
                row[name] += bool(vote)
    lines = ["| kind | files | read here | " + " | ".join(names) + " | standard |", "|---" * (len(names) + 4) + "|"]
    for kind, row in counts.items():
        votes = " | ".join(f"{row[n]} of {row[f'{n} asked']}" if row[f"{n} asked"] else "" for n in names)
        lines.append(f"| {kind} | {row['files']} | {row['ours']} | {votes} | {rules[kind].partition(':')[0]} |")
    return "\n".join(lines)


def ours(made: Made) -> bool:
    """Whether this package reads what was written."""
    from scripts.errors import InputError
    from scripts.reading import read_case

    try:
        found = read_case(made.path).pixels[0]
    except InputError as error:
        print(f"{made.kind}: {made.name}: {error}", file=sys.stderr)
        return False
    wanted = np.asarray(made.expected, np.float32)
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= made.tolerance)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(table(Path(name)))
