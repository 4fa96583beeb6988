"""Start of a branch: one value names a checkpoint, its layout is recognised by its keys.

| source | layout |
| --- | --- |
| a folder or hub name | Hugging Face BLIP-2, stage 1 or 2, single or sharded |
| a file with ``sam_Qformer.*`` | official MSMedCap |
| a file with ``Qformer.*`` | LAVIS BLIP-2, stage 1 or 2 |
| a file with ``branches.*`` | this project's stage 1 |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from scripts.checkpoints.blip2 import blip2_layout, check_heads, read_blip2
from scripts.checkpoints.foreign import load_foreign, part_names
from scripts.checkpoints.lavis import is_lavis, lavis_layout
from scripts.checkpoints.msmedcap import is_msmedcap, msmedcap_layout
from scripts.checkpoints.stages import load_pretrained_branches, read_stage1, start_from_text_encoder
from scripts.errors import WeightsError
from scripts.networks.caption_network import CaptionNetwork
from scripts.weights.loading import LoadReport, load_parameters, read_state, trained_names

_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def start_branches(
    network: nn.Module,
    *,
    pretrained: str | Path | Sequence[str | Path] = "",
    general: str | Path = "",
    detail: str | Path = "",
    text_encoder: str = "",
) -> nn.Module:
    """Start each branch where the configuration says; prints what was loaded.

    The first that is given counts: a branch's own checkpoint, this project's stage 1 (in stage 2), the text encoder.

    Args:
        network: a ``PretrainingNetwork`` or a ``CaptionNetwork``.
        pretrained: stage-1 checkpoints for the branches of a caption network that name no other start; ``""`` for none.
        general, detail: a file, folder or hub name in any layout above; ``""`` for none.
        text_encoder: a BERT-style encoder for the Q-Formers of all other branches; ``""`` leaves them at random.

    Raises:
        WeightsError: a checkpoint lacks something that its branch needs; the message names it.
    """
    own_start = {name: source for name, source in (("general", general), ("detail", detail)) if source}
    for branch, source in own_start.items():
        start_branch(network, branch, source).log()
    rest = [name for name in network.branches if name not in own_start]
    if rest and pretrained and isinstance(network, CaptionNetwork):
        load_pretrained_branches(network, pretrained, branches=rest)
    elif text_encoder:
        start_from_text_encoder([network.branches[name] for name in rest], text_encoder)
    elif rest:
        print(f"the Q-Formers of {', '.join(rest)} start at random")
    return network


def start_branch(network: nn.Module, branch: str, source: str | Path) -> LoadReport:
    """Start one branch from ``source``, whatever its layout.

    Raises:
        WeightsError: the layout is unknown, or something that the branch needs is absent.
    """
    path = Path(source)
    if not (path.is_file() or path.suffix in _SUFFIXES):
        check_heads(source, _heads(network, branch))
        state = read_blip2(source)
        return load_foreign(network, branch, state, blip2_layout(state), source=str(source))
    state = read_state(path)
    if is_msmedcap(state):
        return load_foreign(network, branch, state, msmedcap_layout(state, branch), source=str(source))
    if is_lavis(state):
        return load_foreign(network, branch, state, lavis_layout(state), source=str(source))
    if "qformer.layernorm.weight" in state:
        return load_foreign(network, branch, state, blip2_layout(state), source=str(source))
    if not any(name.startswith(f"branches.{branch}.") for name in state):
        raise WeightsError(
            f"{source} holds no {branch} branch in any layout known here (see scripts/checkpoints/start.py)"
        )
    return _start_from_own(network, branch, path)


def _start_from_own(network: nn.Module, branch: str, path: Path) -> LoadReport:
    """This project's stage 1, into the same stage (to continue) or into stage 2."""
    if isinstance(network, CaptionNetwork):
        return read_stage1(network, path, [branch])
    state = {name: value for name, value in read_state(path).items() if name.startswith(f"branches.{branch}.")}
    trained = set(trained_names(network))  # a temperature that does not learn is not stored
    required = [name for name in part_names(network, branch).values() if name in trained]
    encoder = f"branches.{branch}.branch.encoder.*"
    return load_parameters(network, state, source=str(path), required=required, may_ignore=(encoder,))


def _heads(network: nn.Module, branch: str) -> int:
    if branch not in network.branches:
        raise WeightsError(f"this network has no branch {branch!r} to start: leave {branch}_start empty")
    module = network.branches[branch]
    return getattr(module, "branch", module).qformer.layers[0].self_attention.heads
