"""Opening DICOM files, on disk or inside a zip, so that no damaged byte ends in a traceback."""

from __future__ import annotations

import gzip
import logging
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from scripts.errors import InputError
from scripts.reading.dicom.attributes import item, safe, whole, word
from scripts.reading.magic import unzipped
from scripts.reading.quiet import Shared, quiet_warnings

GZIP = b"\x1f\x8b"
MAX_INFLATED = 2**29
"""Bytes that a deflated data set or a zip member may grow to."""
HEADER_TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "ImageType", "Modality", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "AcquisitionNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceLocation", "ConcatenationUID", "InConcatenationNumber", "NumberOfFrames", "Rows", "Columns",
    "SamplesPerPixel", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
"""All that sorting a folder needs; the rest of a header is skipped unread."""


@dataclass(frozen=True)
class DicomFile:
    """A file on disk, or a member of a zip archive, which is opened anew where it was closed meanwhile."""

    path: str
    member: str | None = None
    archive: zipfile.ZipFile | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path} ({self.member})" if self.member else self.path

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A seekable binary stream; of a file in gzip, what is in it."""
        if self.archive is None or self.member is None:
            with open(self.path, "rb") as stream:
                yield self._ungzipped(stream)
            return
        if self.archive.fp is not None:
            yield self._ungzipped(self._unpacked(self.archive, self.member))
            return
        with zipfile.ZipFile(self.path) as archive:  # frames outlive the `Source` that held the archive
            unpacked = self._unpacked(archive, self.member)
        yield self._ungzipped(unpacked)

    def _unpacked(self, archive: zipfile.ZipFile, member: str) -> BytesIO:
        """A member in memory, since seeking back in a zip stream would unpack it anew."""
        if archive.getinfo(member).file_size > MAX_INFLATED:
            raise InputError(f"{self.name}: grows over {MAX_INFLATED >> 20} MiB when unpacked; refused")
        return BytesIO(archive.read(member))

    def _ungzipped(self, stream: BinaryIO) -> BinaryIO:
        """The stream, or where it is gzip what it holds, in memory and checked to its end."""
        head = stream.read(2)
        stream.seek(0)
        if head != GZIP:
            return stream
        try:
            with gzip.GzipFile(fileobj=stream) as inner:
                data = inner.read(MAX_INFLATED + 1)
        except (OSError, EOFError, zlib.error):
            raise InputError(
                f"{self.name}: its compressed data is damaged or cut short; copy or export it again"
            ) from None
        if len(data) > MAX_INFLATED:
            raise InputError(f"{self.name}: grows over {MAX_INFLATED >> 20} MiB when unpacked; refused")
        return BytesIO(data)


_NOWHERE = logging.NullHandler()


@contextmanager
def _no_pydicom() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [(logger.disabled, logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        # What loggers of their modules say ends here, too. (Another level would empty the caches of all loggers of the
        # process, a third of a slice's time.)
        logger.disabled, logger.propagate, logger.handlers = True, False, [_NOWHERE]
    try:
        with quiet_warnings(), pydicom.config.disable_value_validation():
            yield
    finally:
        for logger, (disabled, propagate, handlers) in zip(loggers, before, strict=True):
            logger.disabled, logger.propagate, logger.handlers = disabled, propagate, handlers


quiet_pydicom = Shared(_no_pydicom)
"""No value validation, and no warning or log line of pydicom or highdicom: they quote headers, which name people."""


def read_dataset(file: DicomFile, *, header_only: bool = False) -> pydicom.Dataset:
    """Parse a DICOM file, with or without preamble and file meta; call inside `quiet_pydicom`.

    Args:
        file: what to read.
        header_only: stop before the pixels and keep `HEADER_TAGS` only, or the whole header of a multi-frame file.

    Raises:
        InputError: not DICOM, or damaged beyond parsing.
    """
    tags = HEADER_TAGS if header_only else None
    try:
        with file.open() as stream:
            _refuse_bomb(file, stream)
            dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=header_only, specific_tags=tags)
            if header_only and whole(dataset, "NumberOfFrames", 1) > 1:
                stream.seek(0)
                dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True)
            _name_syntax(dataset)
            usable = len(dataset) > 0 and _looks_like_dicom(dataset)
            if not usable:
                stream.seek(0)
                begins_so = is_dicom_stream(stream)
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError):
        raise InputError(f"{file.name}: the compressed data is damaged; copy or export it again") from None
    except FileNotFoundError:
        raise InputError(f"{file.name}: there is no such file") from None
    except PermissionError:
        raise InputError(f"{file.name}: may not be read; check its permissions") from None
    except Exception:  # pydicom raises a dozen kinds on damaged bytes, and their texts quote header values
        raise InputError(f"{file.name}: is not a DICOM file, or its header is damaged; export it again") from None
    if not usable and begins_so:
        raise InputError(f"{file.name}: is a DICOM file that is damaged or cut short; copy or export it again")
    if not usable:
        raise InputError(f"{file.name}: is not a DICOM file (no image or document header in it)")
    return dataset


def is_dicom_stream(stream: BinaryIO) -> bool:
    """Whether a file starts as DICOM does: "DICM" after 128 bytes, or a first element of group 0002 or 0008; in gzip or
    not."""
    head = stream.read(132)
    if head.startswith(GZIP):
        head = unzipped(head + stream.read(1024), 132)
    if head[128:132] == b"DICM":
        return True
    return len(head) >= 8 and head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and head[2:4] != b"\x00\x08"


def starts_as_dicom(path: str) -> bool:
    """`is_dicom_stream` of a file on disk; False for one that cannot be opened."""
    try:
        with open(path, "rb") as stream:
            return is_dicom_stream(stream)
    except OSError:
        return False


def _looks_like_dicom(dataset: pydicom.Dataset) -> bool:
    """Text parsed by force gives elements too, but never these."""
    if "SOPClassUID" in dataset or "TransferSyntaxUID" in dataset.file_meta or "DirectoryRecordSequence" in dataset:
        return True
    return "Rows" in dataset and "Columns" in dataset


def _name_syntax(dataset: pydicom.Dataset) -> None:
    """Give a file without (usable) file meta the transfer syntax that its bytes were parsed with."""
    if not hasattr(dataset, "file_meta") or dataset.file_meta is None:
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if safe(dataset.file_meta, "TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian


def _refuse_bomb(file: DicomFile, stream: BinaryIO) -> None:
    """Inflate a deflated data set once with a ceiling, since pydicom inflates without one."""
    head = stream.read(2048)
    if head[128:132] == b"DICM" and DeflatedExplicitVRLittleEndian.encode() + b"\x00" in head:
        stream.seek(0)
        pydicom.filereader.read_partial(stream, stop_when=lambda tag, *_: tag.group > 2, defer_size=None)
        start = _end_of_meta(stream)
        stream.seek(start)
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while chunk := stream.read(65_536):
            pending = chunk
            while pending:
                total += len(inflater.decompress(pending, 2**20))
                pending = inflater.unconsumed_tail
                if total > MAX_INFLATED:
                    raise InputError(f"{file.name}: grows over {MAX_INFLATED >> 20} MiB when inflated; refused")
    stream.seek(0)


def _end_of_meta(stream: BinaryIO) -> int:
    """Offset of the first byte after file meta, from its group length element (0002,0000)."""
    stream.seek(132)
    head = stream.read(12)
    if head[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        return 132
    return 144 + int.from_bytes(head[8:12], "little")


def describe_document(dataset: pydicom.Dataset) -> str:
    """What a data set without pixels is, for the message that refuses it; from a closed list."""
    if item(dataset, "DirectoryRecordSequence") is not None or "DirectoryRecordSequence" in dataset:
        return "a DICOMDIR index"
    kinds = {
        "SR": "a structured report", "RTPLAN": "a radiotherapy plan", "RTSTRUCT": "a radiotherapy structure set",
        "PR": "a presentation state", "KO": "a key object selection", "ECG": "a waveform", "DOC": "a document",
        "REG": "a registration", "RTRECORD": "a radiotherapy record", "SEG": "a segmentation",
    }  # fmt: skip
    if "WaveformSequence" in dataset:
        return "a waveform"
    return kinds.get(word(dataset, "Modality"), "a DICOM object")
