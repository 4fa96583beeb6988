"""`CaptionRun`: what ``configs/inference.json`` does with a file or folder, without MONAI's engine around it.

MONAI's import alone takes three quarters of the processor time of such a run. The network, the preprocessing, the
record and the outputs are the config's own; configs that are not plain (overlays) are read by MONAI's parser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from scripts.captioning import CaptionedBatch, caption_batch
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

if TYPE_CHECKING:
    from scripts.networks.caption_network import CaptionNetwork


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
        self.captioner = BatchCaptioner(
            dtype=get("amp_dtype"),
            explain=switch(get("explain")),
            samples=get("agreement_samples"),
            seed=get("seed"),
            use_header=bool(switch(get("use_header"))),
        )
        for key in ("preprocessing", "provenance", "confidence"):  # an error in these comes before any work
            get(key)

    def __call__(self, source: str | Path, output_dir: str | Path) -> int:
        """Caption what ``source`` holds, print the captions, write the outputs; the number of images that failed.

        Raises:
            InputError: the datalist or an output cannot be used, or another run writes to ``output_dir``.
        """
        get = self.get
        writer = CaptionWriter(
            output_dir,
            provenance=get("provenance"),
            outputs=get("outputs"),
            output_options=get("output_options"),
            rule=get("confidence"),
            resume=get("resume"),
        )
        loader = self._loader(source)
        try:
            writer.start(SimpleNamespace(inferer=self.captioner, state=SimpleNamespace(dataloader=loader)))
            for batch in ahead(loader):
                writer.add(batch, self.captioner(self.network, batch, self.device))
            writer.finish()
        finally:
            writer.lock.release()
        return writer.failed

    def _loader(self, source: str | Path) -> DataLoader:
        get = self.get
        found = cases(str(source), datalist=get("datalist"), section=get("section"))
        dataset = InferenceDataset(found, TimedTransform(get("preprocessing")))
        size, workers = int(get("batch_size")), int(get("workers"))
        return DataLoader(dataset, batch_size=size, num_workers=workers, collate_fn=collate_inference)


@dataclass(frozen=True)
class BatchCaptioner:
    """What is asked of each batch, as ``scripts.inferers.CaptionInferer`` has it for MONAI's engine."""

    dtype: str
    explain: bool | str
    samples: int
    seed: int
    use_header: bool

    def __call__(
        self, network: CaptionNetwork, batch: Mapping[str, Any], device: torch.device
    ) -> CaptionedBatch | None:
        """The captions of a batch; None where none of its images can be read."""
        if "image" not in batch:
            return None
        mask = batch.get("image_mask")
        metas = [record["meta"] for record in batch["records"] if record["error"] is None]
        return caption_batch(
            network,
            batch["image"].to(device),
            None if mask is None else mask.to(device),
            dtype=self.dtype,
            explain=self.explain,
            timer=StepTimer(device),
            samples=self.samples,
            seed=self.seed,
            file_metas=metas if self.use_header else (),
        )
