"""Content items of structured reports (PS3.3 C.17.3), and the tree of a draft caption after TID 2000.

::

    CONTAINER  Diagnostic imaging study (18748-4, LN)
      HAS CONCEPT MOD  CODE    Language: English
      HAS OBS CONTEXT  CODE    Observer Type: Device (TID 1002, 1004: UID, name, manufacturer, model, serial number)
      CONTAINS   CONTAINER  Findings
        CONTAINS   TEXT  Finding: the caption
          HAS CONCEPT MOD  TEXT   Algorithm Name, Version, weights
          HAS PROPERTIES   NUM    each calibrated doubt             (Enhanced SR; Basic Text SR has no numbers)
          INFERRED FROM    IMAGE  each image that was captioned, with frame numbers
        CONTAINS   TEXT  Comment: draft, not for clinical use, and both doubts in words
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from scripts.outputs.dicom.document import MANUFACTURER, MODEL, Draft, derived_uid
from scripts.outputs.dicom.source import ImageReference, SourceStudy

CODING_SCHEME = "99MSMEDCAP"
"""For the concepts that no standard code means: how likely parts of a caption are right."""
_SINGLE_FRAME = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{tail}"
    for tail in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "4", "6.1", "7", "128")
)
"""CR, DX, MG, IO, CT, MR, US, SC and PET images: a frame number must not be given for them (PS3.3 table 10-3)."""
_KIND = ("KIND-PROB", CODING_SCHEME, "Probability that plane, kind and organ are right")
_FINDING = ("FINDING-PROB", CODING_SCHEME, "Probability that the finding is right")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded concept, PS3.3 table 8.8-1."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def report_tree(source: SourceStudy, draft: Draft, *, numbers: bool) -> Dataset:
    """The root CONTAINER's attributes.

    Args:
        source: the images.
        draft: the caption.
        numbers: whether the document's class allows NUM items.
    """
    finding = _text("CONTAINS", ("121071", "DCM", "Finding"), draft.text)
    finding.ContentSequence = [
        _text("HAS CONCEPT MOD", ("111001", "DCM", "Algorithm Name"), MODEL),
        _text("HAS CONCEPT MOD", ("111003", "DCM", "Algorithm Version"), draft.version),
        _text("HAS CONCEPT MOD", ("111002", "DCM", "Algorithm Parameters"), f"weights SHA-256 {draft.weights}"),
    ]
    if numbers and draft.doubts is not None:
        known = ((_KIND, draft.doubts.kind), (_FINDING, draft.doubts.finding))
        finding.ContentSequence += [_number(name, value) for name, value in known if value is not None]
    finding.ContentSequence += [_image(image) for image in source.images]
    findings = _container("CONTAINS", ("121070", "DCM", "Findings"))
    comment = draft.disclaimer + _misplaced_frames(source) + draft.doubt_text
    findings.ContentSequence = [finding, _text("CONTAINS", ("121106", "DCM", "Comment"), comment)]
    root = _container(None, ("18748-4", "LN", "Diagnostic imaging study"))
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2000"
    root.ContentTemplateSequence = [template]
    root.ContentSequence = [*_context(draft), findings]
    return root


def evidence_of(source: SourceStudy) -> list[Dataset]:
    """CurrentRequestedProcedureEvidenceSequence: every referenced image under its study and series."""
    by_series: dict[str, list[Dataset]] = {}
    for image in source.images:
        by_series.setdefault(image.series, []).append(reference(image, frames=False))
    study = Dataset()
    study.StudyInstanceUID = source.study
    study.ReferencedSeriesSequence = []
    for uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = uid, instances
        study.ReferencedSeriesSequence.append(series)
    return [study]


def _context(draft: Draft) -> list[Dataset]:
    """Language (TID 1204) and the device that observed (TID 1002, TID 1004)."""
    uid = _item("HAS OBS CONTEXT", "UIDREF", ("121012", "DCM", "Device Observer UID"))
    uid.UID = derived_uid("device", draft.version, draft.weights)
    return [
        _code_item("HAS CONCEPT MOD", ("121049", "DCM", "Language of Content Item and Descendants"),
                   ("en", "RFC5646", "English")),
        _code_item("HAS OBS CONTEXT", ("121005", "DCM", "Observer Type"), ("121007", "DCM", "Device")),
        uid,
        _text("HAS OBS CONTEXT", ("121013", "DCM", "Device Observer Name"), MODEL),
        _text("HAS OBS CONTEXT", ("121014", "DCM", "Device Observer Manufacturer"), MANUFACTURER),
        _text("HAS OBS CONTEXT", ("121015", "DCM", "Device Observer Model Name"), f"{MODEL} {draft.version}"),
        _text("HAS OBS CONTEXT", ("121016", "DCM", "Device Observer Serial Number"), draft.weights),
    ]  # fmt: skip


def _item(relation: str | None, kind: str, name: tuple[str, str, str] | None) -> Dataset:
    item = Dataset()
    if relation:
        item.RelationshipType = relation
    item.ValueType = kind
    if name:
        item.ConceptNameCodeSequence = [code(*name)]
    return item


def _container(relation: str | None, name: tuple[str, str, str]) -> Dataset:
    item = _item(relation, "CONTAINER", name)
    item.ContinuityOfContent = "SEPARATE"
    return item


def _text(relation: str, name: tuple[str, str, str], text: str) -> Dataset:
    item = _item(relation, "TEXT", name)
    item.TextValue = text
    return item


def _code_item(relation: str, name: tuple[str, str, str], value: tuple[str, str, str]) -> Dataset:
    item = _item(relation, "CODE", name)
    item.ConceptCodeSequence = [code(*value)]
    return item


def _number(name: tuple[str, str, str], value: float) -> Dataset:
    item = _item("HAS PROPERTIES", "NUM", name)
    measured = Dataset()
    measured.NumericValue = f"{value:.6f}"
    measured.MeasurementUnitsCodeSequence = [code("1", "UCUM", "no units")]
    item.MeasuredValueSequence = [measured]
    return item


def _image(image: ImageReference) -> Dataset:
    item = _item("INFERRED FROM", "IMAGE", None)  # TID 2000 names no concept for an image
    item.ReferencedSOPSequence = [reference(image, frames=True)]
    return item


def reference(image: ImageReference, *, frames: bool) -> Dataset:
    """An item that names an image, with ``frames`` those of its frames where its class has several."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class, image.sop_instance
    if frames and image.frames and image.sop_class not in _SINGLE_FRAME:
        item.ReferencedFrameNumber = list(image.frames)
    return item


def _misplaced_frames(source: SourceStudy) -> str:
    """Frame numbers in words, of files that hold several frames although their class has one only."""
    numbers = [str(n) for image in source.images if image.sop_class in _SINGLE_FRAME for n in image.frames]
    return f" Frame {', '.join(numbers)} of the image was described." if numbers else ""
