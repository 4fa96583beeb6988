"""``CaptionPredictor``, the face of the bundle for Python: file or array in, :class:`Caption` out."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.captioning import CaptionedBatch, Written, caption_batch
from scripts.confidence import ConfidenceRule
from scripts.data.ahead import ahead
from scripts.errors import InputError, WeightsError, user_cause
from scripts.generation import GenerationOptions
from scripts.kernels.device import device_of
from scripts.networks.caption_network import CaptionNetwork
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.record import captioned_case
from scripts.plain_config import NotPlainError, PlainConfig
from scripts.provenance.timing import StepTimer
from scripts.reading.image_meta import ImageMeta
from scripts.transforms.preprocessing import Preprocessing, plain_components
from scripts.weights.bundle_folder import bundle_folder

__all__ = ["Caption", "CaptionPredictor", "InputError", "Source", "WeightsError", "config_values"]

Source = str | Path | Sequence[str | Path] | np.ndarray | Tensor
"""A file, a DICOM folder, several of them (views of one case), or an array."""


@dataclass(frozen=True)
class Caption:
    """A caption and what it rests on.

    Attributes:
        text: the caption, the words of a prompt included, also where the record withholds it as not sure enough; "" for
            an image that does not look medical (``record["withheld"]`` says which). It ends before a finding that is
            not supported; ``record["findings"]`` has the candidates.
        confidence: calibrated chance that its plane, kind and organ are right; None without a calibration or caption.
        token_logprobs: natural log of each token's probability, the end token included.
        tokens: the text of each generated token, the end token as ``""``; joined and stripped they are the caption
            after the words of a prompt (``record["prompt"]``).
        case: image, record and explanation, as output writers (``scripts.outputs.build_writers``) take them.
        seconds: how long each step took, for all images that were captioned together.
    """

    text: str
    confidence: float | None
    token_logprobs: tuple[float, ...]
    tokens: tuple[str, ...]
    case: CaptionedCase
    seconds: Mapping[str, float]

    @property
    def record(self) -> Mapping[str, Any]:
        """The line of ``captions.jsonl``: modality, window, slice, weights, trace."""
        return self.case.record


class CaptionPredictor:
    """Captions images with one copy of the network; safe to call from several threads.

    Args:
        network: a loaded network in eval mode.
        device: where it runs.
        preprocessing: files and arrays to what the network sees; read, window by modality, letterbox by default.
        dtype: autocast precision.
        provenance: see :func:`scripts.provenance.origin.provenance`.
        rule: judges how sure each caption is.
        samples: captions to draw for each image besides, with ``seed``, to see whether they agree.
        use_header: guided beams do not contradict the modality and plane that a file itself states.
    """

    def __init__(
        self,
        network: CaptionNetwork,
        *,
        device: torch.device | str = "cpu",
        preprocessing: Preprocessing | None = None,
        dtype: str = "float32",
        provenance: Mapping[str, Any] | None = None,
        rule: ConfidenceRule | None = None,
        samples: int = 0,
        seed: int = 0,
        use_header: bool = True,
    ) -> None:
        self.device = device_of(device)
        self.network = network.to(self.device).eval()
        self.preprocessing = preprocessing or Preprocessing.standard()
        self.dtype = dtype
        self.provenance = dict(provenance or {})
        self.rule = rule or ConfidenceRule()
        self.samples, self.seed = samples, seed
        self.use_header = use_header
        self._lock = threading.Lock()

    @classmethod
    def from_bundle(
        cls, bundle: str | Path, *, config: str | Sequence[str] = "configs/inference.json", **overrides: Any
    ) -> CaptionPredictor:
        """Build from a bundle's inference config, so that presets and overlays hold here too.

        Args:
            bundle: its folder, its ``.zip``, or its name on the Hugging Face hub (``owner/name``); see
                :func:`scripts.weights.bundle_folder.bundle_folder`.
            config: config file, or files of which later ones overlay earlier ones, relative to the bundle.
            overrides: config values, such as ``device="cpu"``, ``weights="..."``, ``num_beams=1``.

        Raises:
            WeightsError: the checkpoint is absent or does not fit, or the hub does not give the bundle.
            InputError: there is no such bundle, or a value cannot be used.
        """
        root = bundle_folder(bundle)
        files = [config] if isinstance(config, str) else list(config)
        values = {"bundle_root": str(root), "config_files": files, "batch_size": 1, **overrides}
        try:
            get = config_values([root / file for file in files], values)
            return cls(
                get("network"),
                device=get("device"),
                preprocessing=Preprocessing(get("preprocessing")),
                dtype=get("amp_dtype"),
                provenance=get("provenance"),
                rule=get("confidence"),
                samples=get("agreement_samples"),
                seed=get("seed"),
                use_header=get("use_header"),
            )
        except RuntimeError as error:
            if (cause := user_cause(error)) is None or cause is error:
                raise
            raise cause from error

    def load(
        self,
        image: Source,
        *,
        window: str | None = None,
        slice: str | int | float | None = None,
        plane: str | None = None,
    ) -> tuple[Tensor, ImageMeta]:
        """Image as the network takes it, ``[3, S, S]`` or ``[V, 3, S, S]`` in [0, 1], and what was done to it.

        Args:
            image: a file, a DICOM folder, several of them (views of one case), or an array ``[H, W]``,
                ``[3, H, W]`` or ``[V, 3, H, W]`` that is already windowed to [0, 1].
            window, slice, plane: see the configs; None takes the config's value.

        Raises:
            InputError: the image cannot be read, or the array is not of such a shape and range.
        """
        if isinstance(image, np.ndarray | Tensor):
            return self.preprocessing.finish(_checked_array(image))
        return self.preprocessing.load(_as_given(image), window=window, slice=slice, plane=plane)

    def caption(
        self,
        image: Source,
        *,
        prompt: str | None = None,
        window: str | None = None,
        slice: str | int | float | None = None,
        plane: str | None = None,
        explain: bool | str = False,
        **generation: Any,
    ) -> Caption:
        """Caption one image or one case of several views.

        Args:
            image, window, slice, plane: see :meth:`load`.
            prompt: words that the caption begins with, instead of the configured prompt.
            explain: False, True (the default method), ``"reader"``, ``"gradient"``, ``"occlusion"`` or
                ``"attention"``: explain each word (``Caption.case.explanation``).
            generation: fields of ``GenerationOptions``, such as ``num_beams=1``.

        Raises:
            InputError: the image or an option cannot be used.
        """
        asked = {"window": window, "slice": slice, "plane": plane}
        timer = StepTimer(self.device)
        options = self.options_of(generation)
        with timer.step("read"):
            loaded = self.load(image, **asked)
        return self._together([image], [loaded], timer, asked=asked, prompt=prompt, explain=explain, options=options)[0]

    def caption_all(
        self,
        images: Iterable[Source],
        *,
        batch_size: int = 8,
        prompt: str | None = None,
        window: str | None = None,
        slice: str | int | float | None = None,
        plane: str | None = None,
        explain: bool | str = False,
        **generation: Any,
    ) -> Iterator[Caption | InputError]:
        """Caption many images, in order and some at a time, which a CPU does up to three times as fast in decoding.

        Args:
            images: each as :meth:`caption` takes it; read as they are needed.
            batch_size: how many are captioned together; those of one batch need equally many views, or it is split.
            prompt, window, slice, plane, explain, generation: see :meth:`caption`; the same for all.

        Yields:
            The caption of each image; for one that cannot be read, the error that says why.

        Raises:
            InputError: an option or ``batch_size`` cannot be used.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be 1 or more, not {batch_size}")
        asked = {"window": window, "slice": slice, "plane": plane}
        same = {"asked": asked, "prompt": prompt, "explain": explain, "options": self.options_of(generation)}
        remaining = iter(images)
        return self._in_batches(iter(lambda: list(islice(remaining, batch_size)), []), same)

    def caption_loaded(
        self,
        images: Sequence[Source],
        loaded: Sequence[tuple[Tensor, ImageMeta]],
        *,
        asked: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        explain: bool | str = False,
        options: GenerationOptions | None = None,
        timer: StepTimer | None = None,
        written: Written | None = None,
    ) -> list[Caption]:
        """Caption images that :meth:`load` has read, together; their pixels have one shape.

        Args:
            images: where each came from, for its record.
            loaded: what :meth:`load` gave for each.
            asked: ``window``, ``slice`` and ``plane`` as they were asked for, for the trace.
            prompt, explain: see :meth:`caption`.
            options: of generation; the network's own by default. See :meth:`options_of`.
            timer: learns the time of each step; may be told as each begins.
            written: told after each step of decoding what is written so far, by row.
        """
        same = {"asked": asked or {}, "prompt": prompt, "explain": explain}
        timer = timer or StepTimer(self.device)
        return self._together(images, loaded, timer, **same, options=options or self.network.options, written=written)

    def _in_batches(self, batches: Iterable[list[Source]], same: Mapping[str, Any]) -> Iterator[Caption | InputError]:
        for batch, loaded, reading_time in ahead(self._read(batch, same["asked"]) for batch in batches):
            alike: dict[Any, list[int]] = {}
            for number, found in enumerate(loaded):
                if not isinstance(found, InputError):
                    alike.setdefault(found[0].shape, []).append(number)
            results: dict[int, Caption | InputError] = dict(enumerate(loaded))
            for numbers in alike.values():
                timer = StepTimer(self.device)
                timer.seconds.update(reading_time.seconds)
                several = ([batch[number] for number in numbers], [loaded[number] for number in numbers])
                results |= zip(numbers, self._together(*several, timer, **same), strict=True)
            yield from results.values()

    def _read(
        self, batch: list[Source], asked: Mapping[str, Any]
    ) -> tuple[list[Source], list[tuple[Tensor, ImageMeta] | InputError], StepTimer]:
        """A batch, what its files hold, and how long reading took."""
        timer = StepTimer(self.device)
        with timer.step("read"):
            return batch, [self._loaded(image, asked) for image in batch], timer

    def _loaded(self, image: Source, asked: Mapping[str, Any]) -> tuple[Tensor, ImageMeta] | InputError:
        try:
            return self.load(image, **asked)
        except InputError as error:
            return error

    def _together(
        self,
        images: Sequence[Source],
        loaded: Sequence[tuple[Tensor, ImageMeta]],
        timer: StepTimer,
        *,
        asked: Mapping[str, Any],
        prompt: str | None,
        explain: bool | str,
        options: GenerationOptions,
        written: Written | None = None,
    ) -> list[Caption]:
        """Captions of images whose pixels have one shape; the best of each image."""
        options = replace(options, num_return=1)
        with self._lock:
            made = caption_batch(
                self.network,
                torch.stack([pixels for pixels, _ in loaded]).to(self.device),
                dtype=self.dtype,
                prompts=prompt,
                options=options,
                explain=explain,
                timer=timer,
                samples=self.samples,
                seed=self.seed,
                file_metas=[meta for _, meta in loaded] if self.use_header else [],
                written=None if written is None else lambda texts: written(self._spoken(texts)),
            )
        captions = []
        for row, (image, (pixels, meta)) in enumerate(zip(images, loaded, strict=True)):
            source = "array" if isinstance(image, np.ndarray | Tensor) else _as_given(image)
            place = {"row": row, "of": len(images)}
            case = self.case(source, pixels, meta, made, **place, asked=asked, prompt=prompt, options=options)
            logprobs = tuple(made.logprobs_of(row)[: len(case.words)])
            captions.append(Caption(case.text, case.record["confidence"], logprobs, case.words, case, made.seconds))
        return captions

    def _spoken(self, texts: Mapping[int, str]) -> dict[int, str]:
        return {row: self.rule.spoken(text) for row, text in texts.items()}

    def options_of(self, generation: Mapping[str, Any]) -> GenerationOptions:
        """The network's generation options with some replaced.

        Raises:
            InputError: an unknown option, or values that do not fit together.
        """
        try:
            return replace(self.network.options, **generation)
        except TypeError:
            known = set(GenerationOptions.__dataclass_fields__)
            unknown = sorted(set(generation) - known)
            raise InputError(f"generation has no option {unknown[0]!r}: it has {', '.join(sorted(known))}") from None

    def case(
        self,
        source: str | list[str],
        pixels: Tensor,
        meta: ImageMeta,
        made: CaptionedBatch,
        *,
        row: int = 0,
        of: int = 1,
        asked: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        options: GenerationOptions | None = None,
    ) -> CaptionedCase:
        """One row of what ``caption_batch`` made as a case; what the call asked for goes into its trace."""
        provenance = self.provenance
        trace = dict(provenance.get("trace", {}))
        if trace:
            given = {key: value for key, value in (asked or {}).items() if value is not None}
            trace["settings"] = {**trace.get("settings", {}), **given}
            if prompt is not None:
                trace["prompt"] = prompt
            if options is not None and options != self.network.options:
                trace["generation"] = {**trace.get("generation", {}), **_plain(options)}
            provenance = {**provenance, "trace": trace}
        views = pixels if pixels.ndim == 4 else pixels[None]
        return captioned_case(source, views, made, meta=meta, row=row, of=of, provenance=provenance, rule=self.rule)


def config_values(files: Sequence[Path], values: Mapping[str, Any]) -> Callable[[str], Any]:
    """Values of a config by key: read here where it is plain and MONAI is not loaded, else by MONAI's parser."""
    if "monai" not in sys.modules:
        with contextlib.suppress(NotPlainError):
            plain = PlainConfig(files, values, plain_components(NotPlainError))
            for key in ("preprocessing", "network", "provenance", "confidence"):
                plain.get(key)
            return plain.get
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(dict(values))
    return parser.get_parsed_content


def _plain(options: GenerationOptions) -> dict[str, Any]:
    return {**vars(options), "stop_strings": list(options.stop_strings)}


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
