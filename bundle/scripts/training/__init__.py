"""Training: handlers and small callables that MONAI's and Ignite's engines leave out."""

from scripts import loads_submodules
from scripts.training.prepare_network import prepare_network  # these two are named as their modules are
from scripts.training.prepare_run import open_run, prepare_run

_MODULES = {
    "AttachAll": "attach",
    "AutocastInferer": "autocast",
    "Checkpoints": "checkpoints",
    "EarlyStop": "early_stop",
    "GradientGuard": "gradients",
    "History": "history",
    "NonFiniteError": "gradients",
    "PrepareCase": "batches",
    "ProgressBar": "progress",
    "RunEnd": "run_end",
    "RunRecord": "run_record",
    "SampleCaptions": "sample_captions",
    "StepSchedule": "optimization",
    "StopSignal": "early_stop",
    "VectorSpread": "spread",
    "WarmupCosine": "optimization",
    "WeightAverage": "weight_average",
    "WeightedAccumulation": "accumulation",
    "adamw": "optimization",
    "bare_network": "resumable",
    "higher_is_better": "best",
    "loss_of": "batches",
    "loss_parts": "batches",
    "lower_is_better": "best",
    "read_checkpoint": "checkpoint_files",
    "scales_loss": "autocast",
    "tracked": "tracking",
}
__all__ = [*_MODULES, "open_run", "prepare_network", "prepare_run"]

__getattr__ = loads_submodules(__name__, _MODULES)
