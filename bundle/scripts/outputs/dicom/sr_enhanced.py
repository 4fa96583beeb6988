"""Output ``dicom_sr_enhanced``: as ``dicom_sr``, with the confidence as a number beside the text."""

from __future__ import annotations

from scripts.outputs.dicom.sr import DicomSrWriter


class EnhancedSrWriter(DicomSrWriter):
    """One Enhanced SR a case."""

    kind = "enhanced"
    folder = "dicom_sr_enhanced"
