"""Fields as a caption of them is read: what composed captions must give back."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.concepts.fields import CaptionFields, normal_abnormality, true_fields


def as_read(fields: Mapping[str, str | None]) -> CaptionFields:
    """Fields in the form in which a caption of them is read."""
    known = true_fields("", {field: text for field, text in fields.items() if text})
    finding = fields.get("abnormality")
    return CaptionFields(known.plane, known.modality, known.organ, normal_abnormality(finding) if finding else None)
