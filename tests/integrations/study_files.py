"""Studies for the server's tests: files of pydicom's package and made ones, and real ones where they are present."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def body(depth: int = 18, height: int = 96, width: int = 80) -> np.ndarray:
    """HU ``[Z, Y, X]``: air, an ellipse of tissue, a bright organ on one side; every slice differs."""
    z, y, x = np.mgrid[0:depth, 0:height, 0:width]
    volume = np.full((depth, height, width), -1000)
    inside = ((y - height * 0.55) / (height * 0.4)) ** 2 + ((x - width * 0.5) / (width * 0.42)) ** 2 < 1
    volume[inside] = (20 + 5 * z + (x + 2 * y) % 40)[inside]
    volume[(np.abs(y - height * 0.4) < 8) & (np.abs(x - width * 0.25) < 7) & (z < depth // 2 + 2)] = 500
    return volume.astype(np.int16)


def write_series(folder: Path, volume: np.ndarray, *, patient: str = "ID-4711") -> Path:
    """A CT series, one file a slice, 5 mm apart, of one patient and study."""
    folder.mkdir(parents=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number, hu in enumerate(volume):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
        made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "DOE^JANE", patient, "19700101", "F"
        made.StudyDate, made.StudyTime, made.StudyID, made.AccessionNumber = "20260101", "101500", "7", "A-1"
        made.ReferringPhysicianName, made.Modality, made.SeriesNumber = "", "CT", 3
        made.InstanceNumber, made.ImageType = number + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.ImageOrientationPatient, made.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-40.0, -48.0, 5.0 * number]
        made.PixelSpacing, made.SliceThickness = [1.0, 1.0], 5.0
        made.RescaleSlope, made.RescaleIntercept, made.RescaleType = 1, -1024, "HU"
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.Rows, made.Columns = hu.shape
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.PixelData = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
        made["PixelData"].VR = "OW"
        pydicom.dcmwrite(folder / f"{number:03d}.dcm", made, enforce_file_format=True)
    return folder


def write_studies(folder: Path) -> Path:
    """What a clean clone has: DICOM files, a series below a folder, a volume, a picture, a text file misnamed."""
    folder.mkdir(parents=True)
    packaged = Path(pydicom.__file__).parent / "data" / "test_files"
    shutil.copyfile(packaged / "CT_small.dcm", folder / "ct_file.dcm")
    shutil.copyfile(packaged / "MR_small.dcm", folder / "mr_file.dcm")
    write_series(folder / "patient" / "ct_series", body())
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(body().transpose(2, 1, 0), affine), folder / "volume.nii.gz")
    grey = np.clip((body()[6] + 160) / 400 * 255, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(folder / "picture.png")
    (folder / "letter.png").write_text("this is a text file")
    return folder


def add_real_studies(folder: Path, shared: Path, pictures: int = 10) -> list[str]:
    """Copy a CT series, a brain volume and validation pictures; returns the pictures' ids."""
    shutil.copytree(shared / "formats" / "ct_series", folder / "real_series")
    shutil.copyfile(next((shared / "formats" / "nifti").glob("ch2bet*")), folder / "brain.nii.gz")
    items = json.loads((shared / "medcap-open" / "datalist.json").read_text())["validation"][:: 294 // pictures]
    names = []
    for item in items[:pictures]:
        source = shared / "medcap-open" / item["image"]
        shutil.copyfile(source, folder / source.name)
        names.append(source.stem)
    return names
