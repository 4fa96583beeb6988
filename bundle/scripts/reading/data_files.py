"""Headers whose voxels lie in other files: MetaImage (.mhd), NRRD (.nhdr), and the pairs of NIfTI and Analyze.

Such a header may name any file of the computer, so only files that lie beside it or below are read, and a header that
names its voxels in any unusual way is refused.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator

from scripts.errors import InputError
from scripts.reading.magic import volume_ending_of

MAX_HEADER = 2**20
MAX_NAME = 255
MAX_NAMES = 20_000
_META_KEY = b"ElementDataFile"
_META_VALUE = re.compile(rb"[ \t]*[=:][ \t=:]*([^\s=:][^\r\n]*)")
_NRRD_KEY = re.compile(rb"^[ \t]*data[ \t]*file[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_NUMBERED = re.compile(r"([^%]*%0?\d{0,2}d[^%\s]*)\s+(-?\d+)\s+(-?\d+)\s+([1-9]\d*)(?:\s+\d+)?")


def data_files(path: str, ending: str) -> list[str]:
    """The files that a header says hold its voxels; none where they follow the header.

    Args:
        path: an NRRD or MetaImage file.
        ending: ".nrrd" or ".mha", as its bytes tell (`scripts.reading.magic`).

    Raises:
        InputError: one of them lies outside the header's folder or is not there, or is named in an unusual way.
    """
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        names = list((_nrrd_names if ending == ".nrrd" else _meta_names)(path, data))
    folder = os.path.dirname(os.path.abspath(path))
    files = [os.path.join(folder, name) for name in names]
    for file in files:
        if not _is_below(file, folder):
            raise InputError(
                f"{path}: its voxels lie in a file outside its folder, which is not read; "
                "put both into one folder, and name that file without a path"
            )
        if not os.path.isfile(file):
            raise InputError(f"{path}: the data file that its header names is missing; put both into one folder")
    return files


def refuse_detached(path: str) -> None:
    """Let pass what can be read on its own.

    Raises:
        InputError: it is a header whose voxels lie in another file.
    """
    told = volume_ending_of(path)
    alone = not told.startswith(".hdr") and not path.lower().endswith((".hdr", ".hdr.gz", ".img", ".img.gz"))
    try:
        alone = alone and not (told in (".nrrd", ".mha") and data_files(path, told))
    except InputError:
        alone = False
    if not alone:
        raise InputError(
            f"{path}: is a header without its voxels, or one half of a pair; send one file that has both, such as "
            ".nii.gz, .nrrd or .mha"
        )


def _is_below(file: str, folder: str) -> bool:
    real = os.path.realpath(folder)
    return os.path.commonpath([real, os.path.realpath(file)]) == real


def _meta_names(path: str, data: mmap.mmap) -> Iterator[str]:
    """Of ``ElementDataFile = LOCAL``, a name, ``LIST`` with a name a line, or a numbered name and its range."""
    at = data.find(_META_KEY)
    if at < 0:
        return
    value = _META_VALUE.match(data, at + len(_META_KEY))
    begins_line = not data[data.rfind(b"\n", 0, at) + 1 : at].strip(b" \t")
    if at > MAX_HEADER or data.find(_META_KEY, at + 1) >= 0 or not begins_line or value is None:
        raise _unusual(path)
    said = _text(path, value[1])
    if said not in ("LOCAL", "Local", "local"):
        yield from _names(path, said, data[value.end() : value.end() + MAX_HEADER])


def _nrrd_names(path: str, data: mmap.mmap) -> Iterator[str]:
    """Of ``data file: name``, ``LIST`` with a name a line, or a numbered name and its range; none without it."""
    ends = [end for end in (data.find(b"\n\n"), data.find(b"\n\r\n")) if end >= 0]
    end = min(ends, default=len(data))
    if end > MAX_HEADER:
        raise InputError(f"{path}: is not an NRRD file, or its header is damaged; export it again")
    found = list(_NRRD_KEY.finditer(data[: end + 1]))
    if len(found) > 1:
        raise _unusual(path)
    for value in found:
        yield from _names(path, _text(path, value[1]), data[value.end() : value.end() + MAX_HEADER])


def _names(path: str, said: str, rest: bytes) -> Iterator[str]:
    """The names that a value stands for; ``rest`` is what follows it."""
    numbered = _NUMBERED.fullmatch(said)
    if said.startswith("LIST"):
        yield from (_text(path, line) for line in rest.split(b"\n")[1:] if line.strip())
    elif numbered:
        first, last, step = (int(number) for number in numbered.groups()[1:])
        if not 0 <= last - first < MAX_NAMES:
            raise _unusual(path)
        yield from (numbered[1] % number for number in range(first, last + 1, step))
    elif said in ("", "-") or "%" in said:
        raise _unusual(path)
    else:
        yield said


def _text(path: str, value: bytes) -> str:
    value = value.rstrip()
    if len(value) > MAX_NAME or any(byte < 32 and byte != 9 for byte in value):
        raise _unusual(path)
    return os.fsdecode(value)


def _unusual(path: str) -> InputError:
    return InputError(
        f"{path}: does not name its data file in a usual way; save it as one file (.nrrd, .mha or .nii.gz)"
    )
