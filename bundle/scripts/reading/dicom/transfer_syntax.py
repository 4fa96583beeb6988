"""Transfer syntaxes that can be read, and the reasons of those that cannot.

The transfer syntax (PS3.5 section 10, PS3.6 table A-1) is the header's word; the bytes have the last one: data that are
encoded in another way than the header says are refused by what they are.
"""

from __future__ import annotations

from typing import Any

import pydicom
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from scripts.errors import InputError
from scripts.reading.dicom.attributes import safe, whole, word
from scripts.reading.dicom.codestream import Codestream, codestream_of

_STANDARD = "1.2.840.10008."
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)) + ("1.2.840.10008.1.2.7.",)
_JPIP = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205))
_JPEG_DCT = ("JPEG baseline", "JPEG extended", "JPEG progressive")
_KINDS: dict[str, tuple[str, ...]] = {
    uid.JPEGBaseline8Bit: _JPEG_DCT, uid.JPEGExtended12Bit: _JPEG_DCT,
    uid.JPEGLossless: ("JPEG lossless",), uid.JPEGLosslessSV1: ("JPEG lossless",),
    uid.JPEGLSLossless: ("JPEG-LS",), uid.JPEGLSNearLossless: ("JPEG-LS",),
    **dict.fromkeys(
        (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K),
        ("JPEG 2000", "HTJ2K"),
    ),
    uid.RLELossless: ("RLE",),
}  # fmt: skip
"""Transfer syntax -> the kinds of codestream that its decoder reads."""


def syntax_of(dataset: pydicom.Dataset) -> uid.UID | None:
    """The transfer syntax UID, None where the file names none."""
    found = safe(dataset.file_meta, "TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    return uid.UID(str(found)) if found else None


def check_syntax(dataset: pydicom.Dataset, name: str) -> None:
    """Refuse encodings that cannot be read, each with its own reason, before pixels are looked for.

    Raises:
        InputError: private, video, on a server (JPIP), without a decoder, or not what the bytes are.
    """
    syntax = syntax_of(dataset)
    if syntax is None or syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
        _check_native(dataset, syntax, name)
        return
    if not syntax.startswith(_STANDARD):
        raise InputError(
            f"{name}: its transfer syntax is private to a manufacturer, so only that manufacturer's software decodes "
            "it; "
            "export it again in a standard one, such as Explicit VR Little Endian"
        )
    if syntax.startswith(_VIDEO):
        raise InputError(f"{name}: is a video ({_name(syntax)}), which is not read; export the frame to describe")
    if syntax in _JPIP or _is_on_a_server(dataset):
        raise InputError(f"{name}: its pixels are on a server (JPIP), not in the file; export it again with its pixels")
    try:
        get_decoder(syntax)
    except (NotImplementedError, KeyError):
        raise InputError(
            f"{name}: its encoding ({_name(syntax)}) is not read; export it again, for example uncompressed"
        ) from None
    if not syntax.is_encapsulated:
        _check_native(dataset, syntax, name)
    elif isinstance(data := safe(dataset, "PixelData"), bytes) and data[:4] not in (b"\xfe\xff\x00\xe0", b""):
        raise InputError(
            f"{name}: its header says {_name(syntax)}, but its pixel data is not compressed; correct its transfer "
            "syntax"
        )


def encoded_frame(dataset: pydicom.Dataset, index: int, name: str) -> Codestream | None:
    """What compressed frame ``index`` says of itself; None for uncompressed ones and where nothing is said.

    Raises:
        InputError: there is no such frame, or it is of another kind or size than the header says.
    """
    syntax = syntax_of(dataset)
    data: Any = safe(dataset, "PixelData")
    if syntax not in _KINDS or not isinstance(data, bytes):
        return None
    try:
        frame = get_frame(data, index, number_of_frames=max(1, whole(dataset, "NumberOfFrames", 1)))
    except Exception:  # damaged fragments raise many kinds
        raise InputError(f"{name}: frame {index} of its compressed pixel data is missing or damaged") from None
    found = codestream_of(frame)
    if found is None:
        return None
    if found.kind not in _KINDS[syntax]:
        raise InputError(
            f"{name}: its header says {_name(syntax)}, but its pixel data is {found.kind}; export it again"
        )
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if found.rows and (found.rows, found.columns) != (rows, columns):
        raise InputError(
            f"{name}: its header says {columns} x {rows} pixels but its compressed image {found.columns} x {found.rows}"
        )
    return found


def _check_native(dataset: pydicom.Dataset, syntax: uid.UID | None, name: str) -> None:
    """Uncompressed pixel data has a length; fragments of a compressed frame begin with an item (PS3.5 A.4)."""
    data = safe(dataset, "PixelData")
    if not isinstance(data, bytes) or not _is_made_of_fragments(data):
        return
    try:
        found = codestream_of(get_frame(data, 0, number_of_frames=max(1, whole(dataset, "NumberOfFrames", 1))))
    except Exception:  # damaged fragments raise many kinds
        found = None
    kind = found.kind if found else "of an unknown kind"
    raise InputError(
        f"{name}: its header says {_name(syntax)}, but its pixel data is compressed ({kind}); correct its transfer "
        "syntax"
    )


def _is_made_of_fragments(data: bytes) -> bool:
    """Whether data is items end to end, which no pixels are by chance."""
    at = 0
    while data[at : at + 4] == b"\xfe\xff\x00\xe0" and at + 8 <= len(data):
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    return at > 0 and (len(data) - at in (0, 1) or data[at : at + 4] == b"\xfe\xff\xdd\xe0")


def _is_on_a_server(dataset: pydicom.Dataset) -> bool:
    return word(dataset, "PixelDataProviderURL") != "" and "PixelData" not in dataset


def _name(syntax: uid.UID | None) -> str:
    return "nothing of an encoding" if syntax is None else syntax.name if syntax.name != syntax else "an unknown one"
