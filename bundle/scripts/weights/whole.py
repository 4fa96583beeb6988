"""A network that takes a checkpoint of what training changes, whole, and no part of one, whoever reads the file.

A checkpoint may lie in several files, of which ``model.pt`` is the first (:mod:`scripts.weights.saving`). This project
reads them all. MONAI's ``load`` and ``ckpt_export``, and MONAI Label, read the first and leave everything else as it
was initialised, without a word. Strict readers, on the other hand, miss the frozen parts, which have files of their own
and have read them by then. `take_trained` gives a network the right answer to both.
"""

from __future__ import annotations

import fnmatch
from functools import partial
from typing import Any

from torch import Tensor, nn

from scripts.errors import WeightsError
from scripts.weights.loading import SHARDS, trained_names

_REMEDY = "give MONAI the model.pt of the packed bundle (make package), which is whole"


def take_trained(network: nn.Module, *, has_already: str = "", may_miss: str = "") -> None:
    """Let ``network.load_state_dict`` take what training changes without the frozen parts, and refuse less.

    Args:
        network: its ``load_state_dict`` raises `WeightsError` for a part of what training changes, also with
            ``strict=False`` and through ``monai.networks.copy_model_state``.
        has_already: pattern (``*`` wildcards) of names in a checkpoint that are in the network under another name.
        may_miss: pattern of names that older checkpoints lack; these keep their values.
    """
    network.register_load_state_dict_pre_hook(partial(_whole, has_already=has_already, may_miss=may_miss))


def _whole(network: nn.Module, state: dict[str, Any], prefix: str, *_: Any, has_already: str, may_miss: str) -> None:
    """Raise for a part of a checkpoint, complete a whole one; arguments as ``torch`` hands them to such hooks."""
    files = state.get(prefix + SHARDS)
    if files is not None and int(files) > 1:
        raise WeightsError(f"this model.pt is one of the {int(files)} files of a checkpoint: {_REMEDY}")
    own = network.state_dict()
    wanted = [name for name in trained_names(network) if not fnmatch.fnmatchcase(name, may_miss)]
    # ``copy_model_state`` fills what a file lacks with the network's own tensors.
    given = {name for name in wanted if not _lacks(state.get(prefix + name), own[name])}
    if given and len(given) < len(wanted):
        absent = next(name for name in wanted if name not in given)
        raise WeightsError(
            f"these weights are {len(given)} of the {len(wanted)} tensors that training changes; {absent!r} and others "
            f"would stay at random: where model_2.pt lies beside model.pt, {_REMEDY}"
        )
    for name in [n for n in state if fnmatch.fnmatchcase(n.removeprefix(prefix), has_already)]:
        del state[name]
    for name in own.keys() - set(wanted):
        state.setdefault(prefix + name, own[name])


def _lacks(given: Tensor | None, own: Tensor) -> bool:
    """Whether a tensor is absent, or the network's own."""
    return given is None or (given.data_ptr() == own.data_ptr() and given.dtype == own.dtype)
