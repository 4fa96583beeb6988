"""Metrics of an encoder that is tuned on concepts: its loss, and the accuracy of each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ignite.metrics import Average, Metric
from torch import Tensor

from scripts.concepts.vocabulary import CLOSED_FIELDS, UNKNOWN, ConceptVocabulary
from scripts.metrics.validation_loss import ValidationLoss


def validation_metrics(vocabulary: ConceptVocabulary) -> dict[str, Metric]:
    """``val_loss``, which the best model is kept by, and the accuracy of each field that captions name.

    For ``key_val_metric`` of a MONAI evaluator whose network is a :class:`ConceptNetwork`. An accuracy is over the
    images whose caption names the field, the loss over all, whatever batches they come in.
    """

    def right(field: str) -> Callable[[Mapping[str, Any]], Tensor]:
        def transform(output: Mapping[str, Any]) -> Tensor:
            targets = output["pred"]["field_targets"][:, CLOSED_FIELDS.index(field)]
            known = targets != UNKNOWN
            answers = output["pred"][field][known].argmax(dim=1)
            return (answers == targets[known]).float()[:, None]  # ignite counts rows, of vectors

        return transform

    loss = {"val_loss": ValidationLoss(unit="image")}
    return loss | {name: Average(right(name))[0] for name, names in vocabulary.fields.items() if names}
