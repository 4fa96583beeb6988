"""A training run of seconds with everything that a real one has."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from monai.transforms import Compose, RandGaussianNoised
from torch import nn

from scripts.data import CaptionDataset, EpochSampler, collate_cases
from scripts.training import (
    AutocastInferer,
    Checkpoints,
    EarlyStop,
    GradientGuard,
    History,
    PrepareCase,
    ProgressBar,
    RunRecord,
    StepSchedule,
    WarmupCosine,
    adamw,
    loss_of,
)


class FrozenLinear(nn.Linear):
    """A frozen encoder, with a constant in a buffer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mean", torch.zeros(inputs))
        self.requires_grad_(False)


class Counting(nn.Module):
    """Trained part that counts its calls in a buffer beside, not inside, the module that owns the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.scale = nn.Linear(4, 4)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.calls += int(self.training)
        return self.scale(value) * (1 + 0.1 * (int(self.calls) % 3))


class SmallNetwork(nn.Module):
    """Frozen encoder, trained head with dropout and batch statistics; ``{"loss", "general_itc", "general_itg"}``."""

    batch_names = ("input_ids", "attention_mask", "general_tokens", "general_tokens_mask")

    def __init__(self, *, plain: bool = False) -> None:
        super().__init__()
        self.encoder = FrozenLinear(12, 16)
        self.counting = Counting()
        between = [nn.Tanh()] if plain else [nn.BatchNorm1d(16), nn.Dropout(0.3)]
        self.head = nn.Sequential(nn.Linear(16, 16), *between, nn.Linear(16, 4))

    def forward(
        self, image: torch.Tensor | None = None, *, general_tokens: torch.Tensor | None = None, **_: Any
    ) -> dict[str, torch.Tensor]:
        encoded = self.encoder(image.flatten(1)) if image is not None else general_tokens.mean(dim=1)
        result = self.counting(self.head(encoded))
        itc, itg = result[:, :2].square().mean(), (result[:, 2:] - 1).square().mean()
        return {"loss": itc + itg, "general_itc": itc, "general_itg": itg}


class PixelsOf:
    """Stands for reading a file: pixels that follow from the case's number."""

    def __call__(self, case: dict[str, Any]) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(case["number"])
        image = torch.rand(3, 2, 2, generator=generator)
        return {**case, "image": image * float(case.get("gain", 1.0))}


def make_items(count: int = 22) -> list[dict[str, Any]]:
    return [{"image": f"/images/{number:02d}.png", "number": number} for number in range(count)]


def _mean_loss() -> Average:
    return Average(output_transform=lambda output: output["pred"]["loss"])


def _evaluator(network: nn.Module, held_out: int) -> SupervisedEvaluator:
    validation = CaptionDataset(make_items(held_out), image_transform=PixelsOf())
    sampler = EpochSampler(validation, shuffle=False, pad=False)
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(validation, batch_size=1, sampler=sampler, collate_fn=collate_cases),
        network=network,
        prepare_batch=PrepareCase(network),
        decollate=False,
        key_val_metric={"loss": _mean_loss()},
        metric_cmp_fn=lambda new, old: new < old,
    )


def _loader(items: list[dict[str, Any]], batch_size: int, workers: int) -> DataLoader:
    chain = Compose([PixelsOf(), RandGaussianNoised("image", prob=1.0)])
    dataset = CaptionDataset(items, image_transform=chain, seed=3)
    sampler = EpochSampler(dataset, seed=3, drop_last=True)
    return DataLoader(
        dataset, batch_size=batch_size, sampler=sampler, drop_last=True, num_workers=workers, collate_fn=collate_cases
    )


def _extras(folder: Path, evaluator: SupervisedEvaluator, patience: int) -> dict[str, Any]:
    """Handlers whose state checkpoints keep."""
    history = History(output_dir=folder, evaluator=evaluator, every=3, tensorboard=False, curves=False)
    stop = {"early_stop": EarlyStop(evaluator=evaluator, patience=patience)} if patience else {}
    return {"history": history, **stop}


def make_run(
    folder: Path,
    *,
    epochs: int = 4,
    resume: str = "auto",
    save_every: int = 2,
    workers: int = 0,
    accumulation: int = 1,
    learning_rate: float = 0.02,
    patience: int = 0,
    max_norm: float = 1.0,
    items: list[dict[str, Any]] | None = None,
    pause: float = 0.0,
    amp_dtype: str = "",
    batch_size: int = 4,
    plain: bool = False,
    validate_every: int = 1,
    held_out: int = 6,
    train_metric: bool = False,
    **options: Any,
) -> SupervisedTrainer:
    """Build a trainer as a config would; ``trainer.checkpoints`` and ``trainer.history`` give access to its parts."""
    torch.manual_seed(7)
    network = SmallNetwork(plain=plain)
    loader = _loader(items or make_items(), batch_size, workers)
    trained = nn.parallel.DistributedDataParallel(network) if torch.distributed.is_initialized() else network
    optimizer = adamw(network, learning_rate=learning_rate)
    schedule = WarmupCosine(optimizer, total_steps=epochs * -(-len(loader) // accumulation), warmup_steps=2)
    evaluator = _evaluator(network, held_out)
    extras = _extras(folder, evaluator, patience)
    parts = {"optimizer": optimizer, "scheduler": schedule, "evaluator": evaluator, "extras": extras}
    options = {"resume": resume, "save_every": save_every, "keep_best": 2, **options}
    checkpoints = Checkpoints(folder=folder, network=trained, **parts, **options)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=loader,
        network=trained,
        optimizer=optimizer,
        loss_function=loss_of,
        prepare_batch=PrepareCase(network),
        inferer=AutocastInferer(amp_dtype),
        decollate=False,
        accumulation_steps=accumulation,
        key_train_metric={"loss": _mean_loss()} if train_metric else None,
        train_handlers=[
            checkpoints,
            RunRecord(output_dir=folder, seed=7),
            GradientGuard(max_norm=max_norm),
            StepSchedule(schedule),
            ValidationHandler(interval=validate_every, validator=evaluator),
            ProgressBar(),
            *extras.values(),
        ],
    )
    if pause:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: time.sleep(pause))
    trainer.checkpoints, trainer.history, trainer.evaluator = checkpoints, extras["history"], evaluator
    return trainer


def final_state(trainer: SupervisedTrainer) -> dict[str, Any]:
    """Everything that must be equal after a resumed and an uninterrupted run."""
    history = [{key: value for key, value in step.items() if key != "seconds"} for step in trainer.history.steps]
    return {
        "network": trainer.network.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "best": [trainer.evaluator.state.best_metric, trainer.evaluator.state.best_metric_epoch],
        "kept": trainer.checkpoints.best.state_dict(),
        "steps": history,
        "epochs": trainer.history.epochs,
    }


def run_to_end(folder: Path, options: dict[str, Any]) -> None:
    """Run (on), and leave the final state in ``folder/final.pt``."""
    trainer = make_run(folder, **options)
    trainer.run()
    torch.save(final_state(trainer), folder / "final.pt")
