"""Sample captions with their images, after every validation."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import nn

from scripts.atomic import write_text_atomically
from scripts.data.collate import collate_cases
from scripts.distributed import rank
from scripts.errors import InputError
from scripts.kernels.precision import autocast, check_autocast_name
from scripts.training.batches import PrepareCase
from scripts.training.early_stop import is_stopped
from scripts.training.history import History
from scripts.training.resumable import bare_network

logger = logging.getLogger(__name__)


class SampleCaptions:
    """Handler of a trainer: captions the first cases of the validation set and shows them beside their images.

    They go to TensorBoard and MLflow through the history, to ``samples.json`` in the run folder, and to the log. With
    several processes all caption the same cases (a sharded language model needs all of them); the first writes.

    Args:
        history: of the run; opens TensorBoard and MLflow.
        network: a ``CaptionNetwork``.
        dataset: validation cases, with images or cached tokens.
        count: how many cases; 0 shows none.
        interval: epochs between them.
        dtype: autocast precision.
    """

    def __init__(
        self,
        *,
        history: History,
        network: nn.Module,
        dataset: Any,
        count: int = 4,
        interval: int = 1,
        dtype: str = "float32",
    ) -> None:
        self.history = history
        self.network = bare_network(network)
        self.dataset = dataset
        self.count = min(count, len(dataset))
        self.interval = max(1, interval)
        check_autocast_name(dtype)
        self.dtype = dtype
        self._images: list[torch.Tensor | None] | None = None

    def attach(self, engine: Any) -> None:
        if self.count:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Any) -> None:
        if is_stopped(engine):
            return
        captions = self._caption(engine.state.device)
        if rank() > 0:
            return
        lines = []
        for number, (caption, image) in enumerate(zip(captions, self._pictures(), strict=True)):
            item = self.dataset.data[number]
            reference = str(item.get("caption", ""))
            lines.append({"image": item["image"], "caption": caption, "reference": reference})
            logger.info("sample %d: %r (reference %r)", number + 1, caption, reference)
            if image is not None:
                text = f"caption: {caption}\nreference: {reference}"
                self.history.show(f"samples/{number + 1}", image, text, engine.state.iteration)
        self._write(engine.state.epoch, lines)

    @torch.no_grad()
    def _caption(self, device: torch.device) -> list[str]:
        batch = collate_cases([self.dataset[index] for index in range(self.count)])
        prepare = PrepareCase(self.network, without=("input_ids", "attention_mask"))
        image, _, _, named = prepare(batch, device)
        was_training = self.network.training
        self.network.eval()
        with autocast(device, self.dtype):
            made = self.network.generate(self.network.encode(image, **named))
        self.network.train(was_training)
        return self.network.decode(made.token_ids)

    def _pictures(self) -> list[torch.Tensor | None]:
        """The images ``[3, H, W]`` of the cases, the first view of several; None for one that cannot be read."""
        if self._images is None:
            self._images = []
            for item in self.dataset.data[: self.count]:
                try:
                    image = torch.as_tensor(self.dataset.image_transform(dict(item))["image"])
                    self._images.append(image[0] if image.ndim == 4 else image)
                except (RuntimeError, InputError) as error:  # its tokens may be cached while the file is away
                    logger.warning("sample image %s cannot be shown: %s", item["image"], error)
                    self._images.append(None)
        return self._images

    def _write(self, epoch: int, lines: list[dict[str, Any]]) -> None:
        path = Path(self.history.output_dir) / "samples.json"
        try:
            earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
            kept = [entry for entry in earlier if entry["epoch"] < epoch]
            write_text_atomically(path, json.dumps([*kept, {"epoch": epoch, "samples": lines}], indent=1))
        except (OSError, ValueError) as error:
            logger.error("sample captions could not be written to %s: %s.", path, error)
