"""Kinds of DICOM objects, by SOP class (PS3.4 B.5, PS3.6 A) and modality: an image to describe, or not.

A study holds more than its images: segmentations, dose grids and maps drawn on them, reports and presentation states
about them. Some of these have pixels too, and none is what a caption should be of. This is the one place that says so:
the reader, the outputs, folders that are searched, MONAI Label and MONAI Deploy all ask here.
"""

from __future__ import annotations

import pydicom

from scripts.reading.dicom.attributes import safe, word

ORIGINAL, CAPTURE, LOCALIZER, NO_IMAGE = range(4)
"""Kinds in the order in which the reader prefers them: images, screen captures, scouts, and what is no image."""

NO_IMAGE_MODALITIES = frozenset(
    (
        "ASMT", "AU", "DOC", "ECG", "EEG", "EMG", "EOG", "FID", "HD", "KO", "M3D", "PLAN", "PR", "REG", "RESP",
        "RTDOSE", "RTINTENT", "RTPLAN", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SR",
    )
)  # fmt: skip
"""Modalities (PS3.3 C.7.3.1.1.1) of series that hold nothing to describe."""
_PROJECTIONS = frozenset(("CR", "DX", "IO", "MG", "PX", "RF", "RG", "RTIMAGE", "XA"))
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_IMAGE_CLASSES = (
    "1.2.840.10008.1.3.10",  # DICOMDIR
    *(_STORAGE + part for part in (
        "4.2",  # MR spectroscopy
        "9.",  # waveforms
        "11.",  # presentation states
        "30",  # parametric maps
        "66",  # raw data, registrations, fiducials, segmentations, tractography
        "67",  # real-world value maps
        "68.",  # surface scans
        "77.1.5.3", "77.1.5.8",  # stereometric relationships, layers of the retina
        "78.", "79.", "80.",  # ophthalmic measurements
        "88.",  # reports and key object selections
        "90.", "91.",  # content assessment, microscopy annotations
        "104.",  # encapsulated documents and models
        "131",  # structured display
        "200.",  # protocols
        "481.",  # radiotherapy, but for its images
    )),
)  # fmt: skip
_RT_IMAGES = tuple(_STORAGE + part for part in ("481.1", "481.23", "481.24"))
_SECONDARY_CAPTURE = _STORAGE + "7"
_SEGMENTATION_CLASSES = (_STORAGE + "66.4", _STORAGE + "66.7", _STORAGE + "66.8")


def kind_of(header: pydicom.Dataset) -> int:
    """`ORIGINAL`, `CAPTURE`, `LOCALIZER` or `NO_IMAGE`."""
    sop_class = _sop_class(header)
    if is_no_image(sop_class, word(header, "Modality")):
        return NO_IMAGE
    if is_localizer(header):
        return LOCALIZER
    return CAPTURE if is_capture(header) else ORIGINAL


def is_no_image(sop_class: str, modality: str) -> bool:
    """Whether objects of this SOP class or modality hold nothing to describe, even where they have pixels."""
    if modality in NO_IMAGE_MODALITIES:
        return True
    return sop_class not in _RT_IMAGES and any(_is_or_below(sop_class, uid) for uid in _NO_IMAGE_CLASSES)


def holds_no_image(header: pydicom.Dataset) -> bool:
    """Whether a data set has nothing to describe: by its kind, or because it is of a foreign class and has no rows.

    An image class without rows is a damaged image, which is for its reader to say.
    """
    sop_class = _sop_class(header)
    foreign = sop_class != "" and not sop_class.startswith(_STORAGE)
    return kind_of(header) == NO_IMAGE or (foreign and safe(header, "Rows") is None)


def is_image_class(header: pydicom.Dataset) -> bool:
    """Whether a data set is by its class an image; without pixels it is then one that was cut short or stripped."""
    return _sop_class(header).startswith(_STORAGE) and not holds_no_image(header)


def is_localizer(header: pydicom.Dataset) -> bool:
    """Scout views. They carry HU tags but their values are line integrals: windows in HU mean nothing."""
    return "LOCALIZER" in word(header, "ImageType").split("\\")


def is_capture(header: pydicom.Dataset) -> bool:
    """Screen captures and scans of film: pictures, whatever modality they are labelled with."""
    return _is_or_below(_sop_class(header), _SECONDARY_CAPTURE)


def is_projection(header: pydicom.Dataset) -> bool:
    """Films and fluoroscopy: several images of a series are views, not slices."""
    return word(header, "Modality") in _PROJECTIONS


def is_segmentation(header: pydicom.Dataset) -> bool:
    """Masks of labels, whose pixels show no tissue."""
    return _sop_class(header) in _SEGMENTATION_CLASSES or word(header, "Modality") == "SEG"


def _sop_class(header: pydicom.Dataset) -> str:
    meta = getattr(header, "file_meta", None)
    return word(header, "SOPClassUID") or ("" if meta is None else str(safe(meta, "MediaStorageSOPClassUID") or ""))


def _is_or_below(uid: str, family: str) -> bool:
    return uid == family or uid.startswith(family.rstrip(".") + ".")
