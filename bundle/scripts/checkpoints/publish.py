"""Finished runs as the files that a bundle ships: half precision, none over 25 MB.

python -m scripts.checkpoints.publish encoder runs/starter/general/model.pt general bundle/models/general_encoder.pt
python -m scripts.checkpoints.publish reader runs/a/concept_reader.safetensors runs/b/concept_reader.safetensors FILE
python -m scripts.checkpoints.publish model runs/starter/train bundle/models/model.pt

A concept reader is the mean of those of several runs. Of a run, ``model.pt`` is the epoch with the least validation
loss, the folder itself its last epoch. For captions the two differ: words grow apter and more varied after the loss of
the reference's words has reached its least.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from scripts.checkpoints.stages import export_encoder
from scripts.concepts.reader import ConceptReader, load_concept_reader, save_concept_reader
from scripts.errors import InputError, WeightsError
from scripts.training.checkpoint_files import checkpoint_files, read_checkpoint
from scripts.weights.intact import refresh_sums
from scripts.weights.loading import read_state
from scripts.weights.saving import save_shards


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True, help="what is published")
    encoder = kinds.add_parser("encoder", help="the tuned encoder that a stage-1 checkpoint holds")
    encoder.add_argument("checkpoint", help="model.pt of a stage-1 run")
    encoder.add_argument("branch", choices=("general", "detail"), help="whose encoder")
    encoder.add_argument("output", help="file to write")
    reader = kinds.add_parser("reader", help="one concept reader of those that runs of tune_general.json exported")
    reader.add_argument("readers", nargs="+", help="concept_reader.safetensors of each run")
    reader.add_argument("output", help="file to write")
    model = kinds.add_parser("model", help="the trained parameters of a run")
    model.add_argument("checkpoint", help="a run's model.pt, or its folder for the last epoch")
    model.add_argument("output", help="file to write; shards where it is over 25 MB")
    given = parser.parse_args(arguments)
    try:
        if given.kind == "encoder":
            files = [export_encoder(given.checkpoint, given.branch, given.output)]
        elif given.kind == "reader":
            joined = ConceptReader.joined([_reader(file) for file in given.readers])
            files = [save_concept_reader(joined, given.output)]
        else:
            files = save_shards(_trained(given.checkpoint), given.output)
    except (InputError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    refresh_sums(files)
    for file in files:
        print(f"{file}  {Path(file).stat().st_size / 1e6:.1f} MB")
    return 0


def _reader(file: str) -> ConceptReader:
    reader = load_concept_reader(file)
    if reader is None:
        raise InputError("the name of a concept reader is empty: give the file that a run exported")
    return reader


def _trained(source: str) -> dict[str, Tensor]:
    """What training changed: of a file, or of the newest checkpoint of a run's folder."""
    if not Path(source).is_dir():
        return read_state(source)
    checkpoints = checkpoint_files(source)
    if not checkpoints:
        raise WeightsError(f"{source} holds no checkpoint_*.pt: give the folder of a run, or a model.pt")
    return read_checkpoint(checkpoints[0])["network"]


if __name__ == "__main__":
    sys.exit(main())
