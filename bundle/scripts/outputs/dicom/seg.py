"""Output ``dicom_seg``: the regions of a caption's words as a DICOM Segmentation object.

Segmentation IOD (PS3.3 A.51): binary, one segment a word, segments may overlap. Every frame refers to the source image
(and frame) that it lies on, at its position and orientation; images without a frame of reference (ultrasound, plain
films) give segments that refer to their pixels only. Patient and study are copied as for the reports, and highdicom
sees no more of a source than its geometry: it copies what it sees. Identifiers are derived from source, caption and
masks, so the same run writes the same file.

The property category is "Spatial and Relational Concept" (309825002, SCT), the type "Selected region" (111099, DCM): a
segment is where a word rests, not an anatomy or a finding that was segmented.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scripts.errors import InputError
from scripts.explanation.masks import WordMask
from scripts.explanation.source_grid import SourceGrid
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.dicom.document import (
    DISCLAIMER,
    MANUFACTURER,
    MODEL,
    Draft,
    derived_uid,
    file_name,
    new_document,
    save,
)
from scripts.outputs.dicom.identity import ALWAYS
from scripts.outputs.dicom.source import SourceStudy, find_source
from scripts.outputs.nifti_mask import grid_of, masks_of
from scripts.outputs.report_writer import FolderWriter
from scripts.reading.dicom.file import DicomFile, quiet_pydicom
from scripts.reading.dicom.stack import FrameRef

SERIES_NUMBER = 9907
_CATEGORY = Code("309825002", "SCT", "Spatial and Relational Concept")
_TYPE = Code("111099", "DCM", "Selected region")
_FAMILY = Code("123110", "DCM", "Artificial Intelligence")
_GEOMETRY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
             "PositionReferenceIndicator", "ImageType", "Rows", "Columns", "NumberOfFrames", "PixelSpacing",
             "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
             "DimensionOrganizationType", "SharedFunctionalGroupsSequence",
             "PerFrameFunctionalGroupsSequence")  # fmt: skip
"""What a segmentation needs of its source; of functional groups highdicom takes positions, orientation and spacing."""
_FROM_DOCUMENT = ("SpecificCharacterSet", "SeriesDescription", "ContentDate", "ContentTime", "SeriesDate", "SeriesTime",
                  "DeviceSerialNumber")  # fmt: skip


class DicomSegWriter(FolderWriter):
    """One DICOM SEG a case and source series in ``output_dir/dicom_seg``."""

    folder = "dicom_seg"
    needs_explanation = True

    def add(self, case: CaptionedCase) -> list[Path]:
        """Write the regions of one case.

        Raises:
            InputError: not DICOM, no explanation, or patient and study cannot be copied.
        """
        if case.record.get("error"):
            return []
        study = find_source(case.source, case.record["trace"]["input"])
        groups: dict[tuple[str, tuple], list[tuple[WordMask, SourceGrid]]] = {}
        for mask in masks_of(case):
            grid = grid_of(case, mask)
            groups.setdefault((grid.frames[0].series, grid.frames), []).append((mask, grid))
        written = []
        for items in groups.values():
            document = segmentation(study, Draft.of(case.record), items)
            path = self.directory / file_name(study, document.SOPInstanceUID, ".dcm")
            written.append(save(document, path))
        return written


def segmentation(study: SourceStudy, draft: Draft, items: Sequence[tuple[WordMask, SourceGrid]]) -> Dataset:
    """The SEG of masks that lie on one stack of frames.

    Args:
        study: whose patient and study it belongs to; draft: the caption and the weights behind it.
        items: masks and the (equal) grids of their views.

    Raises:
        InputError: the source lacks what a segmentation must refer to.
    """
    frames = items[0][1].frames
    pixels, used = _frames_with_masks(items, frames)
    sources, pixels, alone = _sources(frames, used, pixels)
    mark = hashlib.sha256(pixels.tobytes()).hexdigest()
    uid = derived_uid("instance", "seg", study.fingerprint(), draft.fingerprint(), mark)
    base = new_document(
        study, draft, kind="seg", sop_class=pydicom.uid.SegmentationStorage, series_number=SERIES_NUMBER
    )
    try:
        with quiet_pydicom():  # what it says may name people
            document = Segmentation(
                source_images=sources,
                pixel_array=pixels,
                segmentation_type="BINARY",
                segment_descriptions=[_described(number, mask, draft) for number, (mask, _) in enumerate(items, 1)],
                series_instance_uid=derived_uid("series", "seg", study.fingerprint(), draft.fingerprint()),
                series_number=SERIES_NUMBER,
                sop_instance_uid=uid,
                instance_number=1,
                manufacturer=MANUFACTURER,
                manufacturer_model_name=MODEL,
                software_versions=base.SoftwareVersions,
                device_serial_number=base.DeviceSerialNumber,
                content_description=DISCLAIMER[:64].rsplit(" ", 1)[0],
                content_label="WORD_REGIONS",
                series_description=base.SeriesDescription,
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{study.name}: a segmentation cannot refer to it ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "use the output nifti_mask, or export the image again"
        ) from None
    with quiet_pydicom():
        _point_to_frame(document, alone, study.images[0].sop_class)
        return _reproducible(_same_patient(document, base), str(uid))


def _point_to_frame(document: Dataset, frame: FrameRef | None, sop_class: str) -> None:
    """Name the class and frame of a multi-frame source that was handed over as a single image."""
    if frame is None:
        return

    def put_right(item: Dataset, element: pydicom.DataElement) -> None:
        if element.keyword == "ReferencedSOPClassUID":
            element.value = sop_class

    document.walk(put_right)
    for group in document.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence", []):
            for source in derivation.SourceImageSequence:
                source.ReferencedFrameNumber = frame.index + 1


def _reproducible(document: Dataset, seed: str) -> Dataset:
    """Replace what highdicom draws at random or takes from the clock."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        document.pop(keyword, None)
    organization = derived_uid("dimensions", seed)
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in document.get(sequence, []):
            item.DimensionOrganizationUID = organization
    if "FrameOfReferenceUID" not in document:
        document.PatientOrientation = ""  # type 2C: required, and unknown, where the image has no position
    return document


def _same_patient(document: Dataset, base: Dataset) -> Dataset:
    """Patient, study, dates and character set as in the reports of the same case, cleaned likewise."""
    for element in base:
        patient_or_study = element.tag.group == 0x0010 or element.keyword.startswith(
            ("Study", "Accession", "Referring")
        )
        if patient_or_study or element.keyword in _FROM_DOCUMENT:
            document[element.tag] = element
    document.pop("TimezoneOffsetFromUTC", None)
    if "TimezoneOffsetFromUTC" in base:
        document.TimezoneOffsetFromUTC = base.TimezoneOffsetFromUTC
    return document


def _described(number: int, mask: WordMask, draft: Draft) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=mask.text[:64],
        segmented_property_category=_CATEGORY,
        segmented_property_type=_TYPE,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"{MODEL}: regions of words ({mask.source})"[:64],
            version=draft.version[:64] or "unknown",
            family=_FAMILY,
        ),
        tracking_id=f"word {mask.word + 1}: {mask.text}"[:64],
        tracking_uid=derived_uid("tracking", draft.fingerprint(), str(mask.word), mask.text),
    )


def _frames_with_masks(
    items: Sequence[tuple[WordMask, SourceGrid]], frames: Sequence[FrameRef]
) -> tuple[np.ndarray, list[int]]:
    """Masks of the frames that any lies on, ``[F, rows, columns, segments]`` uint8, and the places of those frames."""
    voxels = [grid.place(mask.mask) for mask, grid in items]  # [columns, rows, F]
    used = sorted(set(np.flatnonzero(np.any([v.any((0, 1)) for v in voxels], axis=0)).tolist()))
    stacked = np.stack([v[:, :, used].transpose(2, 1, 0) for v in voxels], axis=-1)
    return np.ascontiguousarray(stacked), used


def _sources(
    frames: Sequence[FrameRef], used: Sequence[int], pixels: np.ndarray
) -> tuple[list[Dataset], np.ndarray, FrameRef | None]:
    """Headers of the source images, the masks in their order, and a frame that was taken out of its file.

    A multi-frame source in space must be given whole: its other frames get empty masks, which are not stored. One
    without a frame of reference (a cine) is given as the one frame that was captioned, as an image of a plain kind.
    """
    chosen = [frames[place] for place in used]
    headers = {ref.file: _header(ref.file) for ref in chosen}
    if len(headers) == len(chosen) and all(ref.count == 1 for ref in chosen):
        return [headers[ref.file] for ref in chosen], pixels, None
    if len(headers) > 1:
        raise InputError(f"{chosen[0].file.name}: a segmentation of several multi-frame files is not written; give one")
    header = headers[chosen[0].file]
    if "FrameOfReferenceUID" not in header and len(chosen) == 1:
        header.NumberOfFrames, header.SOPClassUID = 1, pydicom.uid.SecondaryCaptureImageStorage
        return [header], pixels, chosen[0]
    whole = np.zeros((chosen[0].count, *pixels.shape[1:]), pixels.dtype)
    whole[[ref.index for ref in chosen]] = pixels
    return [header], whole, None


def _header(file: DicomFile) -> Dataset:
    """Geometry and identifiers of the image; patient and study are empty until `_same_patient` fills them in."""
    with quiet_pydicom(), file.open() as stream:
        whole = pydicom.dcmread(stream, force=True, stop_before_pixels=True)
        header = Dataset()
        header.file_meta = getattr(whole, "file_meta", pydicom.dataset.FileMetaDataset())
        for keyword in _GEOMETRY:
            if keyword in whole and whole[keyword].value not in (None, ""):
                header[keyword] = whole[keyword]
        for keyword in ALWAYS:
            if keyword not in header:
                setattr(header, keyword, "")
    return header
