"""``CaptionPredictor``: file or array in, :class:`Caption` out. The one face that integrations use."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor

from .errors import InputError, WeightsError
from .inferers import autocast
from .networks import CaptionNetwork
from .outputs.jsonl import caption_record
from .windowing import Letterboxd, LoadCased, WindowToUnitd, letterbox

__all__ = ["Caption", "CaptionPredictor"]


@dataclass(frozen=True)
class Caption:
    """A caption and what it rests on.

    Attributes:
        text: the caption.
        confidence: geometric mean of its token probabilities, in (0, 1].
        token_logprobs: natural log of each token's probability, the end token included.
        tokens: the text of each token.
        record: the line of ``captions.jsonl``: modality, window, slice, weights, trace.
    """

    text: str
    confidence: float
    token_logprobs: tuple[float, ...]
    tokens: tuple[str, ...]
    record: Mapping[str, Any]


class CaptionPredictor:
    """Captions images with one copy of the network; safe to call from several threads.

    Args:
        network: a loaded network in eval mode.
        device: where it runs.
        image_size: side of the square that images are letterboxed to.
        dtype: autocast precision.
        provenance: see :func:`scripts.provenance.provenance`.
    """

    def __init__(
        self,
        network: CaptionNetwork,
        *,
        device: torch.device | str = "cpu",
        image_size: int = 512,
        dtype: str = "float32",
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        self.image_size = image_size
        self.dtype = dtype
        self.provenance = dict(provenance or {})
        self._lock = threading.Lock()

    @classmethod
    def from_bundle(
        cls, bundle_root: str | Path, *, config: str | Sequence[str] = "configs/inference.json", **overrides: Any
    ) -> CaptionPredictor:
        """Build from a bundle's inference config, so that presets and overlays hold here too.

        Args:
            bundle_root: the bundle folder.
            config: config file, or files of which later ones overlay earlier ones, relative to the bundle.
            overrides: config values, such as ``device="cpu"``, ``weights="..."``, ``num_beams=1``.

        Raises:
            WeightsError: the checkpoint is absent or does not fit.
        """
        from monai.bundle import ConfigParser

        root = Path(bundle_root)
        files = [config] if isinstance(config, str) else list(config)
        parser = ConfigParser()
        parser.read_config([str(root / file) for file in files])
        parser.update({"bundle_root": str(root), **overrides})
        try:
            network = parser.get_parsed_content("network")
        except RuntimeError as error:  # MONAI wraps what an expression raises
            if isinstance(error.__cause__, WeightsError):
                raise error.__cause__ from error
            raise
        return cls(
            network,
            device=parser.get_parsed_content("device"),
            image_size=parser.get_parsed_content("image_size"),
            dtype=parser.get_parsed_content("amp_dtype"),
            provenance=parser.get_parsed_content("provenance"),
        )

    def load(
        self,
        image: str | Path | Sequence[str | Path] | np.ndarray | Tensor,
        *,
        window: str = "auto",
        slice: str | int | float = "middle",
        plane: str = "auto",
    ) -> tuple[Tensor, dict[str, Any]]:
        """Image as the network takes it, ``[3, S, S]`` or ``[V, 3, S, S]`` in [0, 1], and what was done to it.

        Args:
            image: a file, a DICOM folder, several of them (views of one case), or an array ``[H, W]``,
                ``[3, H, W]`` or ``[V, 3, H, W]`` that is already windowed to [0, 1].
            window, slice, plane: see the configs.

        Raises:
            InputError: the image cannot be read, or the array is not of such a shape and range.
        """
        if isinstance(image, np.ndarray | Tensor):
            array = _checked_array(image)
            square = letterbox(array if array.ndim == 4 else array[None], self.image_size)[0]
            return (square if array.ndim == 4 else square[0]), {"reader": "array"}
        paths = str(image) if isinstance(image, str | Path) else [str(path) for path in image]
        chain = Compose(
            [
                LoadCased("image", slice=slice, plane=plane),
                WindowToUnitd("image", window=window),
                Letterboxd("image", size=self.image_size),
            ]
        )
        try:
            item = chain({"image": paths})
        except RuntimeError as error:  # Compose wraps a transform's error
            if isinstance(error.__cause__, InputError):
                raise error.__cause__ from None
            raise
        return item["image"], item["image_meta"]

    def caption(
        self,
        image: str | Path | Sequence[str | Path] | np.ndarray | Tensor,
        *,
        prompt: str | None = None,
        window: str = "auto",
        slice: str | int | float = "middle",
        plane: str = "auto",
        **generation: Any,
    ) -> Caption:
        """Caption one image or one case of several views.

        Args:
            image, window, slice, plane: see :meth:`load`.
            prompt: words to continue instead of the configured prompt.
            generation: fields of ``GenerationOptions``, such as ``num_beams=1``.

        Raises:
            InputError: the image or an option cannot be used.
        """
        pixels, meta = self.load(image, window=window, slice=slice, plane=plane)
        options = replace(self.network.options, **generation) if generation else None
        with self._lock, torch.no_grad(), autocast(self.device, self.dtype):
            encoded = self.network.encode(pixels[None].to(self.device))
            made = self.network.generate(encoded, prompts=prompt, options=options)
        length = int(made.lengths[0])
        ids = made.token_ids[0, :length]
        text = self.network.decode(ids[None])[0]
        logprobs = made.token_logprobs[0, :length].float().tolist()
        source = "array" if isinstance(image, np.ndarray | Tensor) else _as_given(image)
        record = caption_record(
            source, caption=text, token_logprobs=logprobs, meta=meta, error=None, provenance=self.provenance
        )
        words = tuple(self.network.tokenizer.decode([token]) for token in ids.tolist())
        return Caption(text, record["confidence"], tuple(logprobs), words, record)


def _as_given(image: str | Path | Sequence[str | Path]) -> str | list[str]:
    return str(image) if isinstance(image, str | Path) else [str(path) for path in image]


def _checked_array(image: np.ndarray | Tensor) -> Tensor:
    """``[H, W]``, ``[3, H, W]`` or ``[V, 3, H, W]`` -> float32 with three channels, values checked."""
    tensor = torch.as_tensor(image).float()
    if tensor.ndim == 2:
        tensor = tensor.expand(3, -1, -1)
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 3:
        raise InputError(f"an image array is [H, W], [3, H, W] or [V, 3, H, W], not {list(tensor.shape)}")
    if not bool(torch.isfinite(tensor).all()) or tensor.min() < 0 or tensor.max() > 1:
        raise InputError("an image array must be windowed to [0, 1] and finite: see scripts.windowing.window_image")
    return tensor
