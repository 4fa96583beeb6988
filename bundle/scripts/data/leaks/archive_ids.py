"""Numbers under which archives keep an image: the same figure runs through several data sets under one of them.

MedPix numbers its images ``synpic46283``: VQA-Med, VQA-RAD and MedPix 2.0 took theirs from it. PubMed Central numbers
articles, ``PMC3970251``: ROCO, PMC-OA and ImageCLEF took figures from them. An article has many figures, so an equal
article number says that the images may be the same, an equal synpic number that they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_IMAGE = re.compile(r"synpic\d+", re.IGNORECASE)
_ARTICLE = re.compile(r"PMC\d{3,}", re.IGNORECASE)


def archive_ids(entry: Mapping[str, Any]) -> dict[str, set[str]]:
    """``image`` and ``article`` numbers in an entry's paths, ``archive_id``, ``source_id`` and ``group``."""
    image = entry.get("image", "")
    names = [image] if isinstance(image, str) else list(image)
    text = " ".join([*names, *(str(entry.get(key, "")) for key in ("archive_id", "source_id", "group"))])
    return {
        "image": {found.lower() for found in _IMAGE.findall(text)},
        "article": {found.upper() for found in _ARTICLE.findall(text)},
    }
