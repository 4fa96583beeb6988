"""NRRD files (.nrrd, .nhdr), by the format's definition: https://teem.sourceforge.net/nrrd/format.html.

Axes that are no directions in space are told by their kind: colours and vectors are components, lists and time are
volumes. The space names the patient axes that the directions are given in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from scripts.errors import InputError
from scripts.reading.data_files import MAX_HEADER, data_files
from scripts.reading.voxel_data import VoxelFile, VoxelLayout, arranged, numbers_of, read_voxels

_TYPES = {
    "i1": "int8 int8_t char signed_char", "u1": "uint8 uint8_t uchar unsigned_char",
    "i2": "int16 int16_t short short_int signed_short signed_short_int",
    "u2": "uint16 uint16_t ushort unsigned_short unsigned_short_int", "i4": "int32 int32_t int signed_int",
    "u4": "uint32 uint32_t uint unsigned_int",
    "i8": "int64 int64_t longlong long_long long_long_int signed_long_long signed_long_long_int",
    "u8": "uint64 uint64_t ulonglong unsigned_long_long unsigned_long_long_int", "f4": "float", "f8": "double",
}  # fmt: skip
_KIND_OF = {name: kind for kind, names in _TYPES.items() for name in names.split()}
_ENCODINGS = {"raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex", "gz": "gzip", "gzip": "gzip",
              "bz2": "bzip2", "bzip2": "bzip2"}  # fmt: skip
_TO_LPS = {
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
}  # fmt: skip
_SEQUENCES = ("list", "point", "time")
_DOMAINS = ("domain", "space")
_COLOURS = ("rgb-color", "rgba-color", "3-color", "4-color")
_SEGMENT = re.compile(r"segment\d+_(id|labelvalue)", re.IGNORECASE)
_VECTOR = re.compile(r"none|\(([^)]*)\)", re.IGNORECASE)


@dataclass
class _Header:
    fields: dict[str, str]
    pairs: set[str]
    end: int

    def numbers(self, name: str) -> list[float] | None:
        return numbers_of(self.fields, name)

    def words(self, name: str) -> list[str]:
        return self.fields.get(name, "").split()


def read_nrrd(path: str) -> VoxelFile:
    """A whole NRRD file of two or three directions in space, with components or volumes or both.

    Raises:
        InputError: damaged, of a layout that is not read, a segmentation, or its voxels lie outside its folder.
    """
    header = _parse(path)
    if any(_SEGMENT.fullmatch(key) for key in header.pairs):
        raise InputError(f"{path}: is a segmentation, not an image; give the image that it was drawn on")
    sizes = [int(n) for n in header.numbers("sizes") or []]
    dimension = header.numbers("dimension") or [0]
    if not 2 <= len(sizes) <= 5 or min(sizes) < 1 or len(sizes) != int(dimension[0]):
        raise InputError(f"{path}: has {dimension[0]:g} axes of sizes {sizes}; 2 to 5 axes, none empty, are needed")
    notes: list[str] = []
    layout = _layout(path, header, sizes)
    if "endian" not in header.fields and layout.kind.itemsize > 1 and layout.encoding != "text":
        notes.append("the file does not say its byte order; little endian was assumed")
    array = read_voxels(layout, notes)
    space, frames, components = _axes(path, header, sizes)
    order = [frames, *reversed(space), components]
    ours = [len(sizes) - 1 - axis for axis in order if axis is not None]  # numpy's axes run the other way
    array = array.transpose(ours)
    if components is None:
        array = array[..., None]
    if frames is None:
        array = array[None]
    if len(space) == 2:
        array = array[:, None]
    affine, known = _affine(path, header, space, notes)
    kinds = [word.lower() for word in header.words("kinds")]
    colour = components is not None and components < len(kinds) and kinds[components] in _COLOURS
    file = VoxelFile(array, affine, "NRRD", known, colour, notes)
    return arranged(file, 1 if components is None else sizes[components])


def _parse(path: str) -> _Header:
    """Fields in small letters, without inner spaces doubled; the header ends at an empty line or with the file."""
    with open(path, "rb") as stream:
        head = stream.read(MAX_HEADER)
    ended = re.search(rb"\r?\n\r?\n", head)
    if not head.startswith(b"NRRD00") or (ended is None and len(head) == MAX_HEADER):
        raise InputError(f"{path}: is not an NRRD file, or its header is damaged; export it again")
    text = head[: ended.start() if ended else len(head)].decode("latin-1")
    fields: dict[str, str] = {}
    pairs: set[str] = set()
    for line in text.splitlines()[1:]:
        if line.startswith("#"):
            continue
        key, pair, _ = line.partition(":=")
        if pair and ": " not in key:
            pairs.add(key.strip())
            continue
        key, colon, value = line.partition(":")
        if colon:
            fields[key.strip().lower().replace("centerings", "centers")] = value.strip()
    return _Header(fields, pairs, ended.end() if ended else len(head))


def _layout(path: str, header: _Header, sizes: list[int]) -> VoxelLayout:
    said = header.fields.get("type", "").lower()
    kind = _KIND_OF.get("_".join(said.split()))
    encoding = _ENCODINGS.get(header.fields.get("encoding", "").lower())
    if kind is None or encoding is None:
        raise InputError(f"{path}: its type or encoding is not one of NRRD's; export it again, with gzip or raw")
    endian = header.fields.get("endian", "little").lower()
    if endian not in ("little", "big"):
        raise InputError(f"{path}: its byte order is neither little nor big; export it again")
    files = data_files(path, ".nrrd")
    lines = int((header.numbers("line skip") or header.numbers("lineskip") or [0])[0])
    skip = int((header.numbers("byte skip") or header.numbers("byteskip") or [0])[0])
    start = 0 if files else header.end
    if lines > 0:
        start = _after_lines((files or [path])[0], start, lines)
    raw = encoding == "raw"
    return VoxelLayout(
        path, files or [path], np.dtype(kind).newbyteorder("<" if endian == "little" else ">"), tuple(reversed(sizes)),
        encoding, -1 if raw and skip < 0 else start, max(0, skip),
    )  # fmt: skip


def _after_lines(file: str, start: int, lines: int) -> int:
    with open(file, "rb") as stream:
        stream.seek(start)
        for _ in range(min(lines, 100_000)):
            stream.readline(MAX_HEADER)
        return stream.tell()


def _axes(path: str, header: _Header, sizes: list[int]) -> tuple[list[int], int | None, int | None]:
    """(two or three axes of space, the axis of volumes, the axis of components), counted from the fastest."""
    kinds = [word.lower() for word in header.words("kinds")]
    kinds = kinds if len(kinds) == len(sizes) else ["???"] * len(sizes)
    vectors = [match[0].lower() for match in _VECTOR.finditer(header.fields.get("space directions", ""))]
    vectors = vectors if len(vectors) == len(sizes) else [""] * len(sizes)
    space, frames, components = [], [], []
    for axis, (kind, vector) in enumerate(zip(kinds, vectors, strict=True)):
        if kind in _SEQUENCES:
            frames.append(axis)
        elif vector == "none" or kind not in (*_DOMAINS, "???", "none"):
            components.append(axis)
        else:
            space.append(axis)
    if len(space) == 4 and not frames:
        frames.append(space.pop())
    if not 2 <= len(space) <= 3 or len(frames) > 1 or len(components) > 1:
        raise InputError(
            f"{path}: has {len(space)} axes of space and {len(frames) + len(components)} others; 2 or 3 and at most "
            "one of volumes and one of components are read"
        )
    return space, (frames or [None])[0], (components or [None])[0]


def _affine(path: str, header: _Header, space: list[int], notes: list[str]) -> tuple[np.ndarray, bool]:
    """Voxel (x, y, z) -> L, P, S in millimetres, and whether the file says so."""
    affine = np.eye(4)
    directions = _directions(header)
    name = header.fields.get("space", "").lower().replace(" ", "").removesuffix("-time").removesuffix("t")
    known = name in _TO_LPS
    sides = np.array(_TO_LPS.get(name, (1, 1, 1)), float)
    spacings = header.numbers("spacings") or []
    for position, axis in enumerate(space):
        vector = directions[axis] if axis < len(directions) else None
        if vector is not None and 2 <= len(vector) <= 4:
            affine[:3, position] = 0.0
            affine[: min(3, len(vector)), position] = vector[:3]
            affine[:3, position] *= sides
        else:
            known = False
            spacing = spacings[axis] if axis < len(spacings) else 1.0
            affine[:3, position] *= spacing if np.isfinite(spacing) and spacing > 0 else 1.0
    if directions and any(np.isfinite(s) for s in spacings):
        notes.append("the file gives spacings and space directions; the directions were believed")
    if len(space) == 2:
        affine[:3, 2] = _across(affine)
        known = known and any(v is not None and len(v) == 3 for v in directions)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: its space directions are not three different directions; export it again")
    if not known:
        notes.append(
            "a 2-D image: which plane it shows is not known" if len(space) == 2 else
            "the file names no space of the patient, so planes and sides are not known; L, P, S axes were assumed"
        )  # fmt: skip
    return affine, known


def _across(affine: np.ndarray) -> np.ndarray:
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0 else np.array([0.0, 0.0, 1.0])


def _directions(header: _Header) -> list[list[float] | None]:
    """The direction of each axis, None for "none" and what is not made of numbers."""
    found: list[list[float] | None] = []
    for match in _VECTOR.finditer(header.fields.get("space directions", "")):
        try:
            found.append([float(word) for word in match[1].split(",")] if match[1] else None)
        except ValueError:
            found.append(None)
    return found
