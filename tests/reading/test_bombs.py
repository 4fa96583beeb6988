"""Files made to fill memory or time: each ends in one sentence, within 2 GiB and 10 seconds of work."""

from __future__ import annotations

import gzip
import io
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_files import body, ct_slice, save
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from bounds import within
from scripts.data.datalist import inference_items
from scripts.errors import InputError
from scripts.reading import read_case

MIB = 2**20


def gzipped(begin: bytes, mebibytes: int) -> bytes:
    """``begin`` and many zeros, as members of a gzip file that a reader takes for one stream."""
    zeros = gzip.compress(bytes(32 * MIB), 1)
    return gzip.compress(begin) + zeros * (mebibytes // 32)


def deflated(begin: bytes, mebibytes: int) -> bytes:
    """The same without gzip's frame: blocks that lean on nothing before them may be repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(32 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + zeros * (mebibytes // 32) + packer.flush()


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return packed.getvalue()


def png(width: int, height: int, data: bytes = b"", extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    more = chunk(extra[:4], extra[4:]) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", data or zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def gif(frames: int, side: int) -> bytes:
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<2H3B", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame * frames + b";"


def tiff(entries: dict[int, tuple[int, int]], data: bytes = b"", next_at: int = 0) -> bytes:
    """Little-endian, one directory at 8; tag -> (type, value)."""
    listed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(entries.items()))
    return (
        b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + listed + struct.pack("<I", next_at) + data
    )


def tiff_of(width: int, height: int, data: bytes, compression: int = 8, **more: int) -> bytes:
    entries = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, compression), 262: (3, 1), 273: (4, 0),
               277: (3, 1), 278: (4, height), 279: (4, len(data))}  # fmt: skip
    at = 8 + 2 + 12 * len(entries) + 4
    entries[273] = (4, at)
    return tiff(entries, data, **more)


def dicom(change: Callable[[Dataset], None]) -> bytes:
    dataset = ct_slice(body()[3])
    change(dataset)
    written = io.BytesIO()
    pydicom.dcmwrite(written, dataset, enforce_file_format=True)
    return written.getvalue()


def setting(**values: object) -> bytes:
    return dicom(lambda dataset: [setattr(dataset, name, value) for name, value in values.items()] and None)


def nested(depth: int) -> bytes:
    """Sequences of undefined length within each other, written by hand: pydicom's writer would recurse."""
    item = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    whole = dicom(lambda dataset: dataset.add_new(0x00081140, "SQ", Sequence([Dataset()])))
    at = whole.index(struct.pack("<HH2s", 0x0008, 0x1140, b"SQ"))
    return whole[:at] + item * depth


def frames_of_jpeg(dataset: Dataset) -> None:
    """A JPEG that says that it is as large as a JPEG can be."""
    packed = io.BytesIO()
    Image.new("L", (64, 64)).save(packed, "JPEG")
    content = bytearray(packed.getvalue())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(content)])
    dataset["PixelData"].VR = "OB"
    dataset.Rows = dataset.Columns = 64
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7


def deflated_dicom() -> bytes:
    whole = dicom(lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian))
    group = struct.unpack("<I", whole[140:144])[0]
    at = 144 + group
    return whole[:at] + deflated(b"", 4096)


def nifti(*dims: int) -> bytes:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(dims), *dims, *[1] * (7 - len(dims)))
    struct.pack_into("<hh", head, 70, 4, 16)
    struct.pack_into("<f", head, 108, 352.0)
    head[344:348] = b"n+1\0"
    return bytes(head)


def nrrd(sizes: str, data: bytes = b"", encoding: str = "raw") -> bytes:
    head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: {encoding}\nendian: little\n\n"
    return head.encode() + data


def mha(dims: str, data: bytes = b"", packed: bool = False) -> bytes:
    head = f"NDims = 3\nDimSize = {dims}\nElementType = MET_SHORT\nCompressedData = {packed}\nElementDataFile = LOCAL\n"
    return head.encode() + data


BOMBS: dict[str, Callable[[], bytes]] = {
    "zip.zip": lambda: zipped(a__dcm=bytes(600 * MIB)),
    "pictures.zip": lambda: zipped(a__png=bytes(600 * MIB)),
    "in_each_other.zip": lambda: zipped(a__zip=zipped(b__zip=zipped(c__dcm=bytes(600 * MIB)))),
    "many.zip": lambda: zipped(**{f"{number}__dcm": b"" for number in range(25_000)}),
    "volume.nii.gz": lambda: gzipped(nifti(1000, 1000, 1000), 4096),
    "long.nii.gz": lambda: gzipped(nifti(64, 64, 8), 4096),
    "picture.png.gz": lambda: gzipped(png(64, 64), 4096),
    "slice.dcm.gz": lambda: gzipped(dicom(lambda _: None), 4096),
    "image.mgz": lambda: gzipped(struct.pack(">7i", 1, 2000, 2000, 2000, 1, 4, 0), 4096),
    "deflated.dcm": deflated_dicom,
    "sides.png": lambda: png(100_000, 100_000),
    "pixels.png": lambda: png(20_000, 20_000, zlib.compress(bytes(20_001 * 1000))),
    "text.png": lambda: png(64, 64, extra=b"zTXtA\0\0" + zlib.compress(bytes(256 * MIB), 1)),
    "profile.png": lambda: png(64, 64, extra=b"iCCPA\0\0" + zlib.compress(bytes(256 * MIB), 1)),
    "sides.gif": lambda: gif(1, 65_535),
    "frames.gif": lambda: gif(200_000, 64),
    "sides.tif": lambda: tiff_of(2**31 - 1, 2**31 - 1, zlib.compress(bytes(99))),
    "strip.tif": lambda: tiff_of(512, 512, zlib.compress(bytes(600 * MIB), 1)),
    "round.tif": lambda: tiff_of(64, 64, zlib.compress(bytes(4096)), next_at=8),
    "sides.bmp": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 2**30, 2**30, 1, 8, 0, 0, 0, 0, 0, 0)
    ),
    "rows.dcm": lambda: setting(Rows=65_535, Columns=65_535),
    "frames.dcm": lambda: setting(NumberOfFrames="2147483647"),
    "more_frames.dcm": lambda: setting(NumberOfFrames="999999999999"),
    "bits.dcm": lambda: setting(BitsAllocated=65_528, BitsStored=16),
    "samples.dcm": lambda: setting(SamplesPerPixel=65_535),
    "jpeg.dcm": lambda: dicom(frames_of_jpeg),
    "nested.dcm": lambda: nested(100_000),
    "dims.nii": lambda: nifti(*[32_767] * 7),
    "sizes.nrrd": lambda: nrrd("1000000000 1000000000 1000000000"),
    "inside.nrrd": lambda: nrrd("64 64 8", gzipped(b"", 4096), "gzip"),
    "whole.nrrd": lambda: nrrd("2000 2000 2000", gzipped(b"", 4096), "gzip"),
    "dims.mha": lambda: mha("1000000000 1000000000 1000000000"),
    "inside.mha": lambda: mha("64 64 8", zlib.compress(bytes(600 * MIB), 1), packed=True),
    "whole.mha": lambda: mha("1000 1000 1000", zlib.compress(bytes(600 * MIB), 1), packed=True),
}
READ = {"long.nii.gz", "text.png", "profile.png", "round.tif", "inside.nrrd", "inside.mha", "frames.gif", "many.zip"}
"""What may as well be read, since all of what it holds is not."""


LONG = {"volume.nii.gz", "slice.dcm.gz", "pictures.zip", "in_each_other.zip", "inside.mha", "whole.mha", "text.png"}
"""Variants of others that take seconds: `make test-all` has them."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in BOMBS])
def test_a_bomb_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 64 * MIB
    with within(bytes=2 * 2**30, seconds=10.0):
        try:
            case = read_case(path)
        except InputError as error:
            assert name in str(error) and "\n" not in str(error) and len(str(error)) < 400
        else:
            assert name in READ and case.pixels.nbytes < 64 * MIB


def test_pipes_devices_and_links_that_lead_nowhere_or_round_are_no_images(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    save(folder / "good.dcm", ct_slice(body()[3]))
    os.mkfifo(folder / "pipe.dcm")
    (folder / "zeros.png").symlink_to("/dev/zero")
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    (folder / "deeper").symlink_to(folder)
    found: list[dict] = []
    looking = threading.Thread(target=lambda: found.extend(inference_items(folder)), daemon=True)
    with within(seconds=10.0):
        looking.start()
        looking.join(60)
    assert not looking.is_alive(), "a pipe is waited for"
    assert [Path(item["image"]).name for item in found] == ["good.dcm"]
    for name in ("pipe.dcm", "zeros.png", "nowhere.png", "round.png"):
        said: list[BaseException] = []

        def ask(path: Path = folder / name, said: list[BaseException] = said) -> None:
            try:
                read_case(path)
            except BaseException as error:
                said.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        with within(bytes=2**28, seconds=10.0):
            asking.start()
            asking.join(60)
        assert not asking.is_alive(), f"{name} is waited for"
        assert isinstance(said[0], InputError) and name in str(said[0])


def test_a_damaged_length_does_not_reserve_memory(tmp_path: Path) -> None:
    whole = bytearray(dicom(lambda _: None))
    at = whole.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    struct.pack_into("<I", whole, at + 8, 0xFFFFFFF0)
    (tmp_path / "long.dcm").write_bytes(whole)
    with within(bytes=2**28):
        read = read_case(tmp_path / "long.dcm")  # what is there is all of the image
    assert np.array_equal(read.pixels, read_case(save(tmp_path / "whole.dcm", ct_slice(body()[3]))).pixels)
