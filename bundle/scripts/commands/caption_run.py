"""`CaptionRun`: what ``configs/inference.json`` does with a file or folder, without MONAI's engine around it.

MONAI's import alone takes three quarters of the processor time of such a run. The network, the preprocessing, the
record and the outputs are the config's own; configs that are not plain (overlays) are read by MONAI's parser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.captioning import caption_batch
from scripts.data.ahead import ahead
from scripts.data.inference_cases import InferenceDataset, cases, collate_inference
from scripts.given_values import switch
from scripts.kernels.allocator import keep_memory
from scripts.kernels.device import device_of
from scripts.kernels.precision import set_float32_precision
from scripts.outputs import check_requested
from scripts.outputs.jsonl import CaptionWriter
from scripts.predictor import config_values
from scripts.provenance.timing import StepTimer, TimedTransform

__all__ = ["CaptionRun"]


class CaptionRun:
    """A loaded captioner for any number of sources.

    Args:
        bundle_root: the bundle folder.
        config: config files relative to it, later ones over earlier ones.
        settings: config values, such as ``num_beams``.

    Raises:
        WeightsError: weights are absent or do not fit.
        InputError: a value cannot be used.
    """

    def __init__(
        self, bundle_root: str | Path, config: Sequence[str] = ("configs/inference.json",), **settings: Any
    ) -> None:
        values = {"bundle_root": str(bundle_root), "config_files": list(config), **settings}
        self.get = get = config_values([Path(bundle_root) / file for file in config], values)
        check_requested(get("outputs"), get("explain"))
        torch.manual_seed(int(get("seed")))
        set_float32_precision(get("float32_precision"))
        keep_memory()
        self.device = device_of(get("device"))
        self.network = get("network").to(self.device).eval()
        for key in ("preprocessing", "provenance", "confidence"):
            get(key)

    def __call__(self, source: str | Path, output_dir: str | Path) -> int:
        """Caption what ``source`` holds, print the captions, write the outputs; the number of images that failed."""
        get = self.get
        writer = CaptionWriter(
            output_dir,
            provenance=get("provenance"),
            outputs=get("outputs"),
            output_options=get("output_options"),
            rule=get("confidence"),
        )
        writer.start()
        for batch in ahead(self._batches(source)):
            writer.add(batch, self._captioned(batch))
        writer.finish()
        return writer.failed

    def _batches(self, source: str | Path) -> Iterator[dict[str, Any]]:
        get = self.get
        found = cases(str(source), datalist=get("datalist"), section=get("section"))
        dataset = InferenceDataset(found, TimedTransform(get("preprocessing")))
        size = int(get("batch_size"))
        for first in range(0, len(dataset), size):
            yield collate_inference([dataset[place] for place in range(first, min(first + size, len(dataset)))])

    def _captioned(self, batch: Mapping[str, Any]) -> Any:
        """A `CaptionedBatch`; None where no image of the batch can be read."""
        if "image" not in batch:
            return None
        get = self.get
        mask = batch.get("image_mask")
        metas = [record["meta"] for record in batch["records"] if record["error"] is None]
        return caption_batch(
            self.network,
            batch["image"].to(self.device),
            None if mask is None else mask.to(self.device),
            dtype=get("amp_dtype"),
            explain=switch(get("explain")),
            timer=StepTimer(self.device),
            samples=get("agreement_samples"),
            seed=get("seed"),
            file_metas=metas if switch(get("use_header")) else (),
        )
