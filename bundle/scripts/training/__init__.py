"""Training: what MONAI's and Ignite's engines leave out, as handlers and small callables for their configs."""

from .accumulation import WeightedAccumulation
from .attach import AttachAll
from .batches import PrepareCase, loss_parts, take_loss
from .best import higher_is_better, lower_is_better
from .checkpoints import Checkpoints, bare_network, read_checkpoint
from .gradients import GradientGuard, NonFiniteError
from .history import History
from .network import prepare_network
from .optimization import StepSchedule, WarmupCosine, adamw
from .precision import AutocastInferer, scales_loss, set_float32_precision
from .prepare import prepare_run
from .progress import ProgressBar
from .record import RunRecord
from .samples import SampleCaptions
from .sampling import EpochSampler
from .spread import VectorSpread
from .stopping import EarlyStop, StopSignal

__all__ = [
    "AttachAll",
    "AutocastInferer",
    "Checkpoints",
    "EarlyStop",
    "EpochSampler",
    "GradientGuard",
    "History",
    "NonFiniteError",
    "PrepareCase",
    "ProgressBar",
    "RunRecord",
    "SampleCaptions",
    "StepSchedule",
    "StopSignal",
    "VectorSpread",
    "WarmupCosine",
    "WeightedAccumulation",
    "adamw",
    "bare_network",
    "higher_is_better",
    "loss_parts",
    "lower_is_better",
    "prepare_network",
    "prepare_run",
    "read_checkpoint",
    "scales_loss",
    "set_float32_precision",
    "take_loss",
]
