"""File kinds by their first bytes, whatever the name.

NIfTI: nifti1.h and nifti2.h, gzip around it or not, either byte order. MGH: FreeSurfer's table of the header, big
endian. NRRD and MetaImage begin with text. Analyze has no mark of its own, and the voxels of a pair have none either:
these are told by their names.
"""

from __future__ import annotations

import re
import struct
import zlib

HEAD = 4096
"""Bytes that tell."""
_PICTURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
)  # fmt: skip
_PNM = re.compile(rb"P[1-6][\s#]")
_META_IMAGE = re.compile(rb"\s*[A-Za-z]+[ \t]*[=:](?s:.*)(?:\A|\n)[ \t]*NDims[ \t]*[=:]|\s*NDims[ \t]*[=:]")
_MGH_TYPES = (0, 1, 3, 4)


def is_picture(head: bytes) -> bool:
    """Whether a file starts as one of the picture formats that are read."""
    return head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or bool(_PNM.match(head))


_ARCHIVES = {
    b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!\x1a\x07": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}  # fmt: skip


def archive_kind(head: bytes) -> str:
    """What packs a file that begins so: "tar", "tar in gzip", "gzip", "zip", "bzip2", ...; "" where nothing does."""
    if head[257:262] == b"ustar":
        return "tar"
    if head.startswith(b"\x1f\x8b"):
        return "tar in gzip" if unzipped(head)[257:262] == b"ustar" else "gzip"
    return next((kind for mark, kind in _ARCHIVES.items() if head.startswith(mark)), "")


def volume_ending(head: bytes) -> str:
    """The ending that a volume with this beginning (`HEAD` bytes) usually has; "" where the bytes do not tell.

    Returns:
        one of ".nii", ".nii.gz", ".hdr", ".hdr.gz" (a NIfTI header whose voxels are in an .img file), ".mgh", ".mgz",
        ".nrrd" and ".mha".
    """
    if head.startswith(b"NRRD00"):
        return ".nrrd"
    if _META_IMAGE.match(head):
        return ".mha"
    if head.startswith(b"\x1f\x8b"):
        inner = _neuroimage(unzipped(head))
        return {"": "", ".mgh": ".mgz"}.get(inner, f"{inner}.gz")
    return _neuroimage(head)


def volume_ending_of(path: str) -> str:
    """`volume_ending` of a file on disk."""
    with open(path, "rb") as stream:
        return volume_ending(stream.read(HEAD))


def _neuroimage(head: bytes) -> str:
    if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0":
        return ".nii"
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        return ".hdr"
    if len(head) >= 28:
        version, *sizes, kind, _ = struct.unpack(">7i", head[:28])
        if version == 1 and min(sizes) > 0 and kind in _MGH_TYPES:
            return ".mgh"
    return ""


def unzipped(head: bytes, count: int = HEAD) -> bytes:
    """The first ``count`` bytes of a gzip file that begins so; empty where it is damaged."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, count)
    except zlib.error:
        return b""
