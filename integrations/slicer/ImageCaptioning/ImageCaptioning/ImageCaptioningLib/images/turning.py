"""A picture turned as radiologists look at it, whatever way its view is turned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .slices import Picture

_LOOK = {2: ((0, -1), (1, -1)), 1: ((0, -1), (2, -1)), 0: ((1, -1), (2, -1))}
"""RAS axis across the picture -> where its columns and its rows lead: (RAS axis, sign). Left, posterior, inferior."""


def turned(picture: Picture) -> Picture:
    """The same pixels, mirrored and transposed so that columns and rows lead where they do on a radiologist's screen.

    Its geometry turns along, so that what is drawn on it lies in place. An oblique picture counts as the plane that it
    is nearest to.
    """
    axes = picture.to_own[:3, :2]
    across = int(np.abs(np.cross(axes[:, 0], axes[:, 1])).argmax())
    (columns, column_sign), (rows, row_sign) = _LOOK[across]
    if abs(axes[columns, 0]) + abs(axes[rows, 1]) < abs(axes[columns, 1]) + abs(axes[rows, 0]):
        picture = _moved(picture, np.eye(4)[[1, 0, 2, 3]], (1, 0), ())
    axes = picture.to_own[:3, :2]
    height, width = picture.pixels.shape[:2]
    if axes[columns, 0] * column_sign < 0:
        picture = _moved(picture, _mirror(0, width), (0, 1), (1,))
    if axes[rows, 1] * row_sign < 0:
        picture = _moved(picture, _mirror(1, height), (0, 1), (0,))
    return picture


def _mirror(axis: int, size: int) -> np.ndarray:
    found = np.eye(4)
    found[axis, axis], found[axis, 3] = -1, size - 1
    return found


def _moved(picture: Picture, move: np.ndarray, order: tuple[int, int], flips: tuple[int, ...]) -> Picture:
    """``move``: (column, row) of the new picture to that of the old one, 4 x 4."""

    def pixels(old: np.ndarray | None) -> np.ndarray | None:
        if old is None:
            return None
        return np.ascontiguousarray(np.flip(old.transpose(*order, *range(2, old.ndim)), flips))

    return replace(
        picture, pixels=pixels(picture.pixels), values=pixels(picture.values), to_ras=picture.to_ras @ move,
        to_own=picture.to_own @ move,
    )  # fmt: skip
