"""Training: handlers and small callables that MONAI's and Ignite's engines leave out."""

from scripts import loads_submodules
from scripts.training.accumulation import WeightedAccumulation
from scripts.training.attach import AttachAll
from scripts.training.autocast import AutocastInferer, scales_loss
from scripts.training.batches import PrepareCase, loss_of, loss_parts
from scripts.training.best import higher_is_better, lower_is_better
from scripts.training.checkpoint_files import read_checkpoint
from scripts.training.checkpoints import Checkpoints
from scripts.training.early_stop import EarlyStop, StopSignal
from scripts.training.gradients import GradientGuard, NonFiniteError
from scripts.training.history import History
from scripts.training.optimization import StepSchedule, WarmupCosine, adamw
from scripts.training.prepare_network import prepare_network
from scripts.training.prepare_run import open_run, prepare_run
from scripts.training.progress import ProgressBar
from scripts.training.resumable import bare_network
from scripts.training.run_end import RunEnd
from scripts.training.run_record import RunRecord
from scripts.training.sample_captions import SampleCaptions
from scripts.training.spread import VectorSpread
from scripts.training.tracking import tracked
from scripts.training.weight_average import WeightAverage

__all__ = [
    "AttachAll",
    "AutocastInferer",
    "Checkpoints",
    "EarlyStop",
    "GradientGuard",
    "History",
    "NonFiniteError",
    "PrepareCase",
    "ProgressBar",
    "RunEnd",
    "RunRecord",
    "SampleCaptions",
    "StepSchedule",
    "StopSignal",
    "VectorSpread",
    "WarmupCosine",
    "WeightAverage",
    "WeightedAccumulation",
    "adamw",
    "bare_network",
    "higher_is_better",
    "loss_of",
    "loss_parts",
    "lower_is_better",
    "open_run",
    "prepare_network",
    "prepare_run",
    "read_checkpoint",
    "scales_loss",
    "tracked",
]

__getattr__ = loads_submodules(__name__)
