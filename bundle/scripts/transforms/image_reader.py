"""`MedicalImageReader`: `read_case` for MONAI's `LoadImaged`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.reading.slices import Rule


class MedicalImageReader(ImageReader):
    """`read_case` as a MONAI reader: ``LoadImaged(keys="image", reader="scripts.transforms.MedicalImageReader")``.

    Gives ``[C, H, W]`` for one view (channel axis 0) and ``[V, C, H, W]`` for several (channel axis 1). Rows run from
    top to bottom and columns from left to right: unlike MONAI's own readers, nothing is transposed.

    Args:
        slice, plane, frame, series, modality, mask_text: see `read_case`.
    """

    def __init__(
        self, *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto", series: int | str | None = None,
        modality: str | None = None, mask_text: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.options = {"slice": slice, "plane": plane, "frame": frame, "series": series, "modality": modality,
                        "mask_text": mask_text}  # fmt: skip

    def verify_suffix(self, filename: Sequence[str | Path] | str | Path) -> bool:
        """True: what a file is shows in its bytes, not in its name."""
        return True

    def read(self, data: Sequence[str | Path] | str | Path, **kwargs: Any) -> list[tuple[str, dict[str, Any]]]:
        """Note what to read. Reading waits for `get_data`, since `LoadImage` answers an error here by trying other
        readers, which would then misread what this one had refused."""
        paths = [data] if isinstance(data, (str, Path)) else list(data)
        return [(str(path), {**self.options, **kwargs}) for path in paths]

    def get_data(self, img: list[tuple[str, dict[str, Any]]]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read what `read` noted; several files become the views of one case.

        Raises:
            InputError: a file cannot be read, or the views differ in size or channels.
        """
        cases = [read_case(path, **options) for path, options in img]
        shapes = {case.pixels.shape[1:] for case in cases}
        if len(shapes) > 1:
            raise InputError(f"{img[1][0]}: differs in size from {img[0][0]}; load such views with LoadCased instead")
        pixels = np.concatenate([case.pixels for case in cases])
        meta = {key: value for key, value in cases[0].meta.items() if value is not None}
        single = pixels.shape[0] == 1
        meta.update(original_channel_dim=0 if single else 1, spatial_shape=np.array(pixels.shape[-2:]))
        return (pixels[0] if single else pixels), meta
