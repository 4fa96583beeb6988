"""Gradients before the optimizer sees them: measured, clipped, and refused when they are not finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from scripts.training.batches import loss_parts


class NonFiniteError(RuntimeError):
    """A loss or gradient that is not a number or infinite; the message names the batch's files."""


class GradientGuard:
    """Handler of a MONAI trainer: gradient norm, clipping, and a stop before a bad step spoils the weights.

    The norm of the last step is ``engine.state.gradient_norm``. With several processes gradients are already summed
    here, so all processes see the same norm and stop together. Where the loss is scaled, the norm is that of the
    gradient without the scale, and the scaler skips a step that overflows: the run stops only when no scale is left.

    Args:
        max_norm: clip the total norm to this; 0 only measures.
    """

    def __init__(self, *, max_norm: float = 0.0) -> None:
        self.max_norm = max_norm

    def attach(self, engine: Any) -> None:
        """Act after each backward pass of ``engine``, before its optimizer step."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Measure, check and clip.

        Raises:
            NonFiniteError: loss or gradient norm is not finite.
        """
        if engine.scaler is not None and is_optimizer_step(engine):
            engine.scaler.unscale_(engine.optimizer)
        parameters = [p for group in engine.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        scale = 1.0 if engine.scaler is None else engine.scaler.get_scale()
        if not is_optimizer_step(engine):
            norm = norm / scale  # gradients are still to be added to and keep their scale
        loss = engine.state.output[CommonKeys.LOSS].detach()
        loss_value, norm_value = torch.stack([loss.float(), norm.to(loss.device).float()]).tolist()  # one wait
        engine.state.gradient_norm = norm_value
        if not math.isfinite(loss_value) or not (math.isfinite(norm_value) or scale > 1):
            raise NonFiniteError(self._sentence(engine, loss_value, norm_value))
        if self.max_norm > 0 and is_optimizer_step(engine):
            torch.nn.utils.clip_grads_with_norm_(parameters, self.max_norm, norm)

    def _sentence(self, engine: Any, loss: float, norm: float) -> str:
        parts = loss_parts(engine.state.output.get(CommonKeys.PRED))
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in parts.items())
        batch = engine.state.batch
        files = batch.get("image_path", []) if isinstance(batch, dict) else []
        state = engine.state
        return (
            f"training stopped in epoch {state.epoch}, iteration {state.iteration}: loss {loss:.4g}, gradient norm "
            f"{norm:.4g} ({values}). No step was taken with it. Batch: {', '.join(map(str, files)) or 'unnamed'}. "
            "Check these images and captions, lower learning_rate, or use amp_dtype float32."
        )


def begins_group(engine: Any) -> bool:
    """Tell whether this iteration is the first whose gradient goes into the next optimizer step."""
    length = engine.state.epoch_length
    inside = (engine.state.iteration - 1) % length if length else engine.state.iteration - 1
    return inside % engine.accumulation_steps == 0


def is_optimizer_step(engine: Any) -> bool:
    """Tell whether this iteration ends with an optimizer step (gradients may be summed over several iterations)."""
    count, length = engine.accumulation_steps, engine.state.epoch_length
    if count == 1:
        return True
    inside = (engine.state.iteration - 1) % length if length else engine.state.iteration - 1
    return (inside + 1) % count == 0 or (length is not None and inside + 1 == length)


def optimizer_steps(engine: Any) -> int:
    """Return how many optimizer steps lie before the present position; a cut epoch counts whole steps only."""
    count, length = engine.accumulation_steps, engine.state.epoch_length
    epochs, inside = divmod(engine.state.iteration, length)
    return epochs * -(-length // count) + inside // count
