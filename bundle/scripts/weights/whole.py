"""A network that takes no part of a checkpoint for the whole, whoever reads the file.

A checkpoint may lie in several files, of which ``model.pt`` is the first (:mod:`scripts.weights.saving`). This project
reads them all. MONAI's ``load`` and ``ckpt_export``, and MONAI Label, read the first and leave everything else as it
was initialised, without a word. A network that was given to `refuse_parts` stops them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from scripts.errors import WeightsError
from scripts.weights.loading import SHARDS, trained_names

__all__ = ["refuse_parts"]

_REMEDY = "give MONAI the model.pt of the packed bundle (make package), which is whole"


def refuse_parts(network: nn.Module) -> None:
    """Let ``network.load_state_dict`` raise `WeightsError` where it is given a part of what training changes."""
    network.register_load_state_dict_pre_hook(_refuse)


def _refuse(network: nn.Module, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """See `refuse_parts`; arguments as ``torch`` hands them to such hooks."""
    files = state.get(prefix + SHARDS)
    if files is not None and int(files) > 1:
        raise WeightsError(f"this model.pt is one of the {int(files)} files of a checkpoint: {_REMEDY}")
    own = network.state_dict()
    wanted = trained_names(network)
    given = [name for name in wanted if not _same(state.get(prefix + name), own[name])]
    # ``monai.networks.copy_model_state`` fills what a file lacks with the network's own tensors.
    if given and len(given) < len(wanted):
        absent = next(name for name in wanted if _same(state.get(prefix + name), own[name]))
        raise WeightsError(
            f"these weights are {len(given)} of the {len(wanted)} tensors that training changes; {absent!r} and others "
            f"would stay at random: where model_2.pt lies beside model.pt, {_REMEDY}"
        )


def _same(given: Tensor | None, own: Tensor) -> bool:
    """Whether a tensor is absent, or the network's own."""
    return given is None or (given.data_ptr() == own.data_ptr() and given.dtype == own.dtype)
