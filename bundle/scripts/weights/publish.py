"""Turn finished runs into the files that a bundle ships: half precision, none over 25 MB.

python -m scripts.weights.publish encoder runs/starter/general/model.pt general bundle/models/general_encoder.pt
python -m scripts.weights.publish model runs/starter/train/model.pt bundle/models/model.pt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import WeightsError
from .loading import read_state
from .saving import save_shards
from .stages import export_encoder

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    encoder = kinds.add_parser("encoder", help="the tuned encoder that a stage-1 checkpoint holds")
    encoder.add_argument("checkpoint")
    encoder.add_argument("branch", choices=("general", "detail"))
    encoder.add_argument("output")
    model = kinds.add_parser("model", help="the trained parameters of a run")
    model.add_argument("checkpoint")
    model.add_argument("output")
    given = parser.parse_args(arguments)
    try:
        if given.kind == "encoder":
            files = [export_encoder(given.checkpoint, given.branch, given.output)]
        else:
            files = save_shards(read_state(given.checkpoint), given.output)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for file in files:
        print(f"{file}  {Path(file).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
