"""Caption scores as an Ignite metric, so that training can choose its best checkpoint by them.

    "key_metric": {"CIDEr-D": {"_target_": "scripts.metrics.CaptionMetrics", "key": "CIDEr-D", "output_transform": ...}}

Strings are gathered from all processes before anything is scored: corpus scores are not means of parts. Images that a
distributed sampler repeats to fill the last batch count once where their names are given, so one process and two give
the same figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced

from scripts.errors import InputError
from scripts.metrics.protocols import protocol
from scripts.metrics.scores import Captions, Extras
from scripts.metrics.scoring import score_captions

_Row = tuple[str, tuple[str, ...], str | None, Mapping[str, str | None] | None]
MEAN_FIELDS = "field mean"


def caption_scores(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    fields: Sequence[Mapping[str, str | None] | None] | None = None,
    *,
    protocol_name: str = "coco",
    with_meteor: bool = False,
) -> dict[str, float]:
    """All scores of N captions by name, plus `field mean` (plane, modality, organ) as one number to select by."""
    extras = Extras(meteor=with_meteor)
    captions = Captions(predictions, references, protocol(protocol_name), fields, extras=extras)
    scores = score_captions(captions).values()
    scores[MEAN_FIELDS] = (scores["plane"] + scores["modality"] + scores["organ"]) / 3
    return scores


def _of_batch(output: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Captions of an evaluator's ``output`` and references of its ``batch``."""
    made = output.get("pred", {}).get("captioned")
    captions = None if made is None else made.captions
    if captions is None or "caption" not in batch:
        raise InputError(
            "CaptionMetrics scores captions, and this validation makes none: see configs/best_caption.json"
        )
    return {"predictions": captions, "references": batch["caption"], "images": batch.get("image_path")}


class CaptionMetrics(Metric):
    """Caption scores over an epoch, on any number of processes.

    `output_transform` must give `(predictions, references)`, or `(predictions, references, images)`, or a dictionary
    with these and `fields`. Predictions are strings; a reference is a string or a list of strings. Without one, what
    `scripts.inferers.CaptionInferer` gives in a MONAI evaluator is taken, with the batch's captions as references.

    Args:
        key: the score that stands under the metric's own name, as a key metric needs a number. None puts the
            dictionary of all scores there.
        protocol: `coco` or `imageclef`.
        with_meteor: also run METEOR (Java); off by default, it takes seconds an epoch.
        output_transform: as in Ignite; what it gives is taken as above.
        device: accepted for Ignite; strings stay on the CPU.

    Raises:
        InputError: `key` is no score, or the protocol is unknown.
    """

    def __init__(
        self,
        *,
        key: str | None = "CIDEr-D",
        protocol: str = "coco",
        with_meteor: bool = False,
        output_transform: Callable[[Any], Any] = lambda output: output,
        device: str = "cpu",
    ) -> None:
        self.key = key
        self.protocol_name = protocol
        self.with_meteor = with_meteor
        known = caption_scores(["a"], [["a"]], protocol_name=protocol, with_meteor=False)
        if key is not None and key not in known and not (key == "METEOR" and with_meteor):
            raise InputError(f"no caption score is called '{key}'; choose one of {', '.join(known)}")
        super().__init__(output_transform=output_transform, device=device)

    def reset(self) -> None:
        """Forget all captions."""
        self._rows: list[_Row] = []
        self._is_reduced = False

    @reinit__is_reduced
    def update(self, output: Sequence[Any] | Mapping[str, Any]) -> None:
        """Add a batch of captions."""
        named = output if isinstance(output, Mapping) else dict(
            zip(("predictions", "references", "images", "fields"), output, strict=False)
        )  # fmt: skip
        predictions, references = list(named["predictions"]), list(named["references"])
        images = named.get("images") or [None] * len(predictions)
        fields = named.get("fields") or [None] * len(predictions)
        if not len(predictions) == len(references) == len(images) == len(fields):
            raise InputError(
                f"CaptionMetrics got {len(predictions)} predictions, {len(references)} references, {len(images)} "
                "images: a batch needs one of each an image"
            )
        for prediction, reference, image, known in zip(predictions, references, images, fields, strict=True):
            group = (reference,) if isinstance(reference, str) else tuple(reference)
            self._rows.append((prediction, group, None if image is None else str(image), known))

    def iteration_completed(self, engine: Engine) -> None:
        """Take the batch's output as it is; Ignite's own way knows pairs of tensors only."""
        output = self._output_transform(engine.state.output)
        plain = isinstance(output, Mapping) and "predictions" not in output
        self.update(_of_batch(output, engine.state.batch) if plain else output)

    def _gathered(self) -> list[_Row]:
        """Rows of all processes, repeated images once; in one order whatever the number of processes."""
        rows = self._rows
        if idist.get_world_size() > 1:
            rows = [row for part in idist.all_gather(rows) for row in part]
        named = {row[2]: row for row in rows if row[2] is not None}
        kept = [*named.values(), *(row for row in rows if row[2] is None)]
        return sorted(kept, key=lambda row: (row[2] or "", row[1], row[0]))

    def compute(self) -> dict[str, float]:
        """All scores by name.

        Raises:
            NotComputableError: no caption was added.
        """
        rows = self._gathered()
        if not rows:
            raise NotComputableError("CaptionMetrics has seen no captions: the validation loader gave no batch")
        predictions, references, _, fields = (list(column) for column in zip(*rows, strict=True))
        return caption_scores(
            predictions, references, fields, protocol_name=self.protocol_name, with_meteor=self.with_meteor
        )

    def completed(self, engine: Engine, name: str) -> None:
        """Put the key score under `name` and all others beside it in `engine.state.metrics`."""
        scores = self.compute()
        engine.state.metrics.update({score: value for score, value in scores.items() if score != name})
        engine.state.metrics[name] = scores if self.key is None else scores[self.key]
