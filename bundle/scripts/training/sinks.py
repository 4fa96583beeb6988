"""Sinks of a run's history: TensorBoard event files and a local MLflow store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from scripts.atomic import write_text_atomically
from scripts.errors import InputError


class TensorBoardWriter:
    """Event files in ``output_dir/tensorboard``; steps after ``iteration`` of an interrupted run are hidden."""

    def __init__(self, output_dir: Path, iteration: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(output_dir / "tensorboard"), purge_step=iteration + 1)

    def write(self, values: dict[str, float], iteration: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def show(self, name: str, image: Tensor, text: str, iteration: int) -> None:
        """A picture ``[3, H, W]`` in [0, 1] and the text that belongs to it."""
        self._writer.add_image(name, image.clamp(0, 1), iteration)
        self._writer.add_text(name, text.replace("\n", "  \n"), iteration)

    def close(self) -> None:
        self._writer.close()


class MlflowWriter:
    """One run in a local MLflow store, ``output_dir/mlflow.db`` and ``output_dir/mlflow``; a resumed training goes on
    in it. Look at it with ``mlflow ui --backend-store-uri sqlite:///<output_dir>/mlflow.db``.
    """

    def __init__(self, output_dir: Path, iteration: int) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise InputError(
                "logging to MLflow needs its package: pip install mlflow, or set mlflow to false."
            ) from error
        folder = output_dir.absolute()
        self._client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
        marker = output_dir / "mlflow_run.txt"
        if iteration and marker.is_file():
            self._run = marker.read_text().strip()
        else:
            experiment = self._client.get_experiment_by_name("training")
            experiment_id = (
                experiment.experiment_id
                if experiment
                else self._client.create_experiment("training", artifact_location=(folder / "mlflow").as_uri())
            )
            self._run = self._client.create_run(experiment_id, run_name=output_dir.name).info.run_id
            write_text_atomically(marker, self._run)

    def write(self, values: dict[str, float], iteration: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name.replace("@", "_at_"), value, step=iteration)

    def show(self, name: str, image: Tensor, text: str, iteration: int) -> None:
        """As :meth:`TensorBoardWriter.show`; files ``<name>/<iteration>.png`` and ``.txt`` of the run."""
        pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        self._client.log_image(self._run, np.ascontiguousarray(pixels), f"{name}/{iteration:08d}.png")
        self._client.log_text(self._run, text, f"{name}/{iteration:08d}.txt")

    def close(self) -> None:
        self._client.set_terminated(self._run)


SINKS = {"tensorboard": TensorBoardWriter, "mlflow": MlflowWriter}
