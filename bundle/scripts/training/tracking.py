"""``--tracking mlflow``, MONAI's own switch, on engines of this bundle.

MONAI puts its MLflow handler at the end of a config's handlers. That handler takes the loss for one of a list of
decollated cases and names of metrics as they are: with a loss of a batch it stops at the first step, and ``R@1`` is no
name for MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from monai.handlers import MLFlowHandler
from monai.utils import CommonKeys
from torch import Tensor

from scripts.training.batches import loss_parts, scalars


def tracked(handlers: Sequence[Any] | None) -> list[Any]:
    """The handlers of an engine; an MLflow handler of MONAI among them reads what engines of this bundle put out.

    It records ``train_loss``, the parts of the loss such as ``general_itc``, and all metrics that are numbers.
    """
    found = list(handlers or [])
    for handler in found:
        if isinstance(handler, MLFlowHandler):
            handler.output_transform = partial(_losses, handler.tag_name)
            handler.epoch_logger = partial(_log_metrics, handler)
    return found


def _losses(name: str, output: dict[str, Any]) -> dict[str, float]:
    """The loss of a batch under ``name``, and its parts."""
    parts = {part: value for part, value in loss_parts(output.get(CommonKeys.PRED)).items() if part != "loss"}
    values = {name: output[CommonKeys.LOSS], **parts}
    return {key: value.item() if isinstance(value, Tensor) else float(value) for key, value in values.items()}


def _log_metrics(handler: MLFlowHandler, engine: Any) -> None:
    metrics = {name.replace("@", "_at_"): value for name, value in scalars(engine.state.metrics).items()}
    if metrics:
        handler._log_metrics(metrics, step=handler.global_epoch_transform(engine.state.epoch))
