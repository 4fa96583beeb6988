"""Decodes JPEG frames with GDCM in a process of its own. Started by ``gdcm_process``; imports nothing of this package.

GDCM is the only permitted decoder of lossless and 12-bit JPEG, and it ends the whole process on some damaged frames: a
C++ exception leaves its Python binding uncaught. Here that costs one frame.

Protocol, on standard input and output: a request is nine unsigned 32-bit little-endian numbers (rows, columns, samples,
bits allocated, bits stored, signed, planar configuration, length of the names, length of the frame), the names
(photometric interpretation and transfer syntax UID, joined by a space) and the frame. An answer is the length of the
decoded bytes, 0 for failure, and the bytes.
"""

from __future__ import annotations

import os
import resource
import struct
import sys

REQUEST = struct.Struct("<9I")
MEMORY = 3 * 2**29
"""Address space, in bytes, that a decode may take."""


def decode(frame: bytes, shape: tuple[int, int, int], bits: tuple[int, int, int, int], names: str) -> bytes:
    """``frame`` -> decoded bytes; ``bits`` are allocated, stored, signed, planar configuration."""
    import gdcm

    rows, columns, samples = shape
    allocated, stored, signed, planar = bits
    photometric, _, syntax = names.partition(" ")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if samples > 1:
        image.SetPlanarConfiguration(planar)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(samples, allocated, stored, stored - 1, signed))
    return image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands bytes over as text


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # the JPEG library prints what it thinks of each precision it tries
    os.dup2(quiet, 2)
    while head := requests.read(REQUEST.size):
        rows, columns, samples, allocated, stored, signed, planar, names, length = REQUEST.unpack(head)
        text = requests.read(names).decode("ascii")
        frame = requests.read(length)
        try:
            decoded = decode(frame, (rows, columns, samples), (allocated, stored, signed, planar), text)
        except Exception:
            decoded = b""
        answers.write(struct.pack("<I", len(decoded)) + decoded)
        answers.flush()


if __name__ == "__main__":
    main()
