"""Tiled slides of microscopy (PS3.3 C.8.12.4): the whole picture from its tiles, where it is small enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom

from scripts.errors import InputError
from scripts.reading.case import check_bytes, check_size
from scripts.reading.dicom.attributes import item, safe, whole, word
from scripts.reading.dicom.file import DicomFile
from scripts.reading.dicom.stack import FrameRef, Stack


def whole_slide(
    known: dict[DicomFile, pydicom.Dataset], stack: Stack, view: Callable[[FrameRef], np.ndarray], meta: dict[str, Any]
) -> list[np.ndarray] | None:
    """The one view of a tiled image, ``[C, H, W]``; None where the object is not tiled.

    Args:
        known: the data set of the file, where one file was given.
        stack: its frames, which are the tiles.
        view: decodes one.
        meta: learns what was put together.

    Raises:
        InputError: the slide is too large, or its tiles do not say where they lie.
    """
    dataset = next(iter(known.values()), None)
    if dataset is None or safe(dataset, "TotalPixelMatrixRows") is None:
        return None
    name, refs = stack.frames[0].file.name, stack.frames
    height, width = whole(dataset, "TotalPixelMatrixRows"), whole(dataset, "TotalPixelMatrixColumns")
    tile_height, tile_width = refs[0].shape
    if len(refs) == 1 and (height, width) == (tile_height, tile_width):
        return None
    check_size(name, height, width)
    check_bytes(name, 3 * 4 * height * width)
    corners = _full(dataset, refs, height, width) or _sparse(dataset, refs)
    tiles = math.ceil(height / tile_height) * math.ceil(width / tile_width)
    if corners is None or len(set(corners)) != len(corners) or len(corners) != tiles:
        raise InputError(
            f"{name}: is a slide of {width} x {height} pixels whose {len(refs)} tiles do not make one picture (several "
            "focal planes or stains, or a part of it); export one picture of it"
        )
    whole_picture: np.ndarray | None = None
    for ref, (top, left) in zip(refs, corners, strict=True):
        tile = view(ref)
        if whole_picture is None:
            whole_picture = np.zeros((tile.shape[0], height, width), tile.dtype)
        if not (0 <= top < height and 0 <= left < width):
            raise InputError(f"{name}: one of its tiles lies outside of the slide; export it again")
        part = tile[:, : height - top, : width - left]
        whole_picture[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    meta["notes"].append(f"a slide of {tiles} tiles, put together")
    return None if whole_picture is None else [whole_picture]


def _full(dataset: pydicom.Dataset, refs: list[FrameRef], height: int, width: int) -> list[tuple[int, int]] | None:
    """TILED_FULL: tiles row by row, from the top left, of one focal plane and one optical path."""
    if word(dataset, "DimensionOrganizationType") != "TILED_FULL":
        return None
    tile_height, tile_width = refs[0].shape
    tops, lefts = range(0, height, tile_height), range(0, width, tile_width)
    corners = [(top, left) for top in tops for left in lefts]
    return corners if len(corners) == len(refs) else None


def _sparse(dataset: pydicom.Dataset, refs: list[FrameRef]) -> list[tuple[int, int]] | None:
    """TILED_SPARSE: each frame says where it lies, counted from 1."""
    groups = safe(dataset, "PerFrameFunctionalGroupsSequence")
    if groups is None or len(groups) < len(refs):
        return None
    corners = []
    for ref in refs:
        place = item(groups[ref.index], "PlanePositionSlideSequence")
        top = whole(place, "RowPositionInTotalImagePixelMatrix") if place is not None else 0
        left = whole(place, "ColumnPositionInTotalImagePixelMatrix") if place is not None else 0
        if top < 1 or left < 1:
            return None
        corners.append((top - 1, left - 1))
    return corners
