"""Captions that stop where their source knows no more: those of items whose finding is not known.

Apart from the transforms, so that what captions images need not load MONAI.
"""

from __future__ import annotations

from collections.abc import Mapping


def finding_unknown(fields: Mapping[str, str | None] | None) -> bool:
    """Whether an item's fields say that its finding is not known: ``abnormality`` is there, and null."""
    return bool(fields) and "abnormality" in fields and not fields["abnormality"]
