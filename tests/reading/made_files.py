"""Small images made on the spot for the reading tests: DICOM of every kind, series, volumes. No patient's."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    generate_uid,
)

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
SAGITTAL = [0, 1, 0, 0, 0, -1]


def phantom(height: int = 40, width: int = 56, top: int = 4000, seed: int = 0) -> np.ndarray:
    """Integers ``[H, W]`` that no transposition, mirroring or inversion maps to themselves."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = rows * 3 + columns + np.random.default_rng(seed).integers(0, 5, (height, width))
    image = image * (top * 0.6 / image.max())
    image[2:8, 3:12] = top
    image[height - 6 : height - 2, 2:5] = top // 2
    return image.astype(np.int64)


def dataset(array: np.ndarray, *, modality: str = "CT", photometric: str = "MONOCHROME2", allocated: int = 16,
            stored: int | None = None, signed: bool = False, frames: int | None = None,
            **tags: Any) -> FileDataset:  # fmt: skip
    """A data set with pixels ``[H, W]``, ``[H, W, 3]`` or, with ``frames``, one more axis in front."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Modality, made.PhotometricInterpretation = modality, photometric
    made.SeriesInstanceUID, made.StudyInstanceUID = generate_uid(), generate_uid()
    made.PatientName, made.PatientID = "DOE^JANE", "ID-4711"
    spatial = array.shape[1:] if frames else array.shape
    made.Rows, made.Columns = spatial[:2]
    made.SamplesPerPixel = spatial[2] if len(spatial) == 3 else 1
    if made.SamplesPerPixel > 1:
        made.PlanarConfiguration = 0
    if frames:
        made.NumberOfFrames = frames
    made.BitsAllocated = allocated
    made.BitsStored = stored or allocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(signed)
    kind = np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
    made.PixelData = array.astype(kind).tobytes() + (b"\0" if array.size * kind.itemsize % 2 else b"")
    made["PixelData"].VR = "OW" if allocated > 8 else "OB"
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def save(path: Path, made: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write, uncompressed, in the given syntax (big endian swaps the pixels)."""
    if syntax == ExplicitVRBigEndian and made.BitsAllocated == 16:
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    made.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    return path


def ct_slice(hu: np.ndarray, z: float = 0.0, number: int = 1, orientation: list[float] | None = None,
             origin: tuple[float, float] = (-20.0, -30.0), **tags: Any) -> FileDataset:  # fmt: skip
    """An axial CT slice whose values are ``hu`` after a rescale of intercept -1024."""
    defaults: dict[str, Any] = {
        "RescaleSlope": 1, "RescaleIntercept": -1024, "ImageOrientationPatient": orientation or AXIAL,
        "ImagePositionPatient": [*origin, z], "PixelSpacing": [0.8, 0.6], "SliceThickness": 2, "SeriesNumber": 3,
        "InstanceNumber": number,
    }  # fmt: skip
    return dataset(np.asarray(hu) + 1024, **{**defaults, **tags})


def body(depth: int = 12, height: int = 40, width: int = 56) -> np.ndarray:
    """HU values ``[Z, Y, X]``: air, an off-centre body, a bright organ on one side, different in every slice."""
    z, y, x = np.mgrid[0:depth, 0:height, 0:width]
    volume = np.full((depth, height, width), -1000)
    inside = ((y - height * 0.55) / (height * 0.4)) ** 2 + ((x - width * 0.5) / (width * 0.42)) ** 2 < 1
    volume[inside] = 40 + (x + 2 * y + 5 * z)[inside] % 60
    volume[(np.abs(y - height * 0.4) < 4) & (np.abs(x - width * 0.25) < 5) & (z < depth // 2 + 2)] = 400
    return volume.astype(np.int64)


def ct_series(folder: Path, volume: np.ndarray, *, positions: list[float] | None = None, **tags: Any) -> Path:
    """A CT series on disk whose names and instance numbers run against its positions."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = positions or [-50.0 + 2.0 * k for k in range(len(volume))]
    uid = generate_uid()
    for k, (hu, z) in enumerate(zip(volume, positions, strict=True)):
        number = len(volume) - k
        save(folder / f"{(k * 7) % len(volume):03d}_{k}.dcm",
             ct_slice(hu, z, number, **{"SeriesInstanceUID": uid, **tags}))  # fmt: skip
    return folder


def jpeg_dataset(array: np.ndarray, quality: int = 90, **tags: Any) -> FileDataset:
    """An 8-bit grey or colour image as JPEG Baseline, by Pillow."""
    buffer = BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    photometric = "YBR_FULL_422" if array.ndim == 3 else "MONOCHROME2"
    made = dataset(array, allocated=8, photometric=photometric, **tags)
    made.PixelData = encapsulate([buffer.getvalue()])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return made


def as_jpeg_lossless(source: Path, target: Path) -> Path:
    """Re-encode an uncompressed file as JPEG Lossless, first-order prediction, by GDCM."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGLosslessSV1))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def enhanced_ct(volume: np.ndarray, order: list[int], spacing: float = 2.0) -> FileDataset:
    """An enhanced multi-frame CT: geometry and rescale in functional groups, frames stored in ``order``."""
    made = dataset(volume[order] + 1024, frames=len(order), SeriesNumber=5)
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=AXIAL)])
    shared.PixelMeasuresSequence = Sequence([_item(PixelSpacing=[0.8, 0.6], SliceThickness=spacing)])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([_item(ImagePositionPatient=[-20.0, -30.0, -50.0 + spacing * k])])
        rescale = _item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
        frame.PixelValueTransformationSequence = Sequence([rescale])
        frame.FrameVOILUTSequence = Sequence([_item(WindowCenter=40 + k, WindowWidth=400)])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return made


def _item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def lut_item(first: int, values: np.ndarray, bits: int = 16) -> Dataset:
    """An item of a VOI LUT Sequence or Modality LUT Sequence with unsigned input."""
    made = Dataset()
    made.LUTDescriptor = [len(values), first, bits]
    made["LUTDescriptor"].VR = "US"
    made.ModalityLUTType = "US"
    made.LUTData = values.astype("<u2").tobytes()
    made["LUTData"].VR = "OW"
    return made
