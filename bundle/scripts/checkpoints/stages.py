"""Hand-over between stages: text start -> stage 1 -> stage 2 -> inference, each with a printed report."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from scripts.checkpoints.bert import initialise_from_bert, initialise_head_from_bert
from scripts.errors import WeightsError
from scripts.kernels.device import device_of
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.lora import ADAPTER_NAMES, ALPHA_NAMES
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.weights.intact import write_sealed
from scripts.weights.loading import LoadReport, load_parameters, read_state
from scripts.weights.pretrained import load_pretrained

# What stage 1 trains and stage 2 has no use for: the text path and the heads of the three objectives.
_STAGE1_ONLY = ("*.word_embeddings.*", "*.position_embeddings.*", "*.text_feed_forward.*")


def text_tokenizer(source: str) -> object:
    """Tokenizer of the Q-Formers' text path with the added ``[DEC]`` token.

    Args:
        source: ``"starter"``, a local folder or a hub name of a BERT-style encoder.
    """
    if source == "starter":
        from scripts.weights.starter import load_text_encoder

        tokenizer = load_text_encoder()[1]
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    return tokenizer


def start_from_text_encoder(modules: Sequence[Branch | PretrainingBranch], source: str) -> None:
    """Start branches from a BERT-style encoder; prints what was loaded, once for branches that took the same.

    Self-attention, text path and feed-forwards of its Q-Former, and in stage 1 the head of ITG where the encoder has
    one of its own.

    Args:
        modules: branches of either stage.
        source: ``"starter"`` (MiniLM), a local folder or a hub name.
    """
    state = _text_encoder_state(source)
    reports: list[LoadReport] = []
    label = f"text encoder {source!r}" + (f", for each of {len(modules)} branches" if len(modules) > 1 else "")
    for module in modules:
        found = [initialise_from_bert(getattr(module, "branch", module).qformer, state, source=label)]
        if isinstance(module, PretrainingBranch):
            found.append(initialise_head_from_bert(module.generation, state, source=f"{label}, language-model head"))
        reports += [report for report in found if report is not None and report not in reports]
    for report in reports:
        report.log()


def _text_encoder_state(source: str) -> dict[str, Tensor]:
    if source == "starter":
        from scripts.weights.starter import load_text_encoder

        return load_text_encoder()[0]
    from transformers import AutoModel, AutoModelForMaskedLM

    body, _ = load_pretrained(AutoModel, source, part="bert.", optional=("pooler.*",))
    whole, report = load_pretrained(AutoModelForMaskedLM, source, optional=("*",))  # a bare encoder has no head
    head = [name for name in whole.state_dict() if name.startswith("cls.") and name not in report.random]
    return body.state_dict() | {name: whole.state_dict()[name] for name in head}


def _as_stage2(state: dict, names: list[str]) -> dict:
    """Stage-1 names ``branches.X.branch.*`` to stage-2 names ``branches.X.*``, heads dropped."""
    renamed = {}
    for name, value in state.items():
        for branch in names:
            prefix = f"branches.{branch}.branch."
            if name.startswith(prefix) and not name.startswith(f"{prefix}encoder."):
                renamed[f"branches.{branch}.{name.removeprefix(prefix)}"] = value
    return renamed


def load_pretrained_branches(
    network: CaptionNetwork,
    path: str | Path | Sequence[str | Path],
    *,
    branches: Sequence[str] | None = None,
) -> CaptionNetwork:
    """Start the branches of a caption network from stage 1; prints what was loaded. Projections stay random.

    Args:
        network: receives query, self- and cross-attention, query feed-forward and token-norm parameters.
        path: a stage-1 ``model.pt``, several of them where the branches were trained apart, or ``""`` to start
            without stage 1. A tuned encoder's parameters are left out: name its file in the encoder's ``weights``.
        branches: names of those to start; all by default.

    Raises:
        WeightsError: a file is absent, is no stage-1 checkpoint, or together they lack a parameter of a branch.
    """
    names = list(network.branches if branches is None else branches)
    if not path:
        print(f"stage 2 starts without stage 1: the Q-Formers of {', '.join(names)} are at their initial values")
        return network
    read_stage1(network, path, names).log()
    return network


def read_stage1(network: CaptionNetwork, path: str | Path | Sequence[str | Path], names: Sequence[str]) -> LoadReport:
    """Copy the named branches of stage-1 checkpoints into a caption network; see :func:`load_pretrained_branches`."""
    files = [path] if isinstance(path, str | Path) else list(path)
    state = {name: value for file in files for name, value in read_state(file).items()}
    renamed = _as_stage2(state, list(names))
    if not renamed:
        raise WeightsError(f"{files[0]} holds no stage-1 branches: give the model.pt that configs/pretrain.json wrote")
    others = tuple(f"branches.{name}.*" for name in network.branches if name not in names)
    report = load_parameters(
        network,
        renamed,
        source="stage 1 " + ", ".join(str(file) for file in files),
        may_miss=("projections.*", "language_model.*", "branches.*.encoder.*", *others),
        may_ignore=_STAGE1_ONLY,
    )
    elsewhere = (*others, "branches.*.encoder.*")  # started by other values of the config
    report.random = [name for name in report.random if not any(fnmatch.fnmatchcase(name, p) for p in elsewhere)]
    report.unused += [name for name in state if ".branch." not in name]
    return report


def load_trained(network: nn.Module, path: str | Path) -> LoadReport:
    """Load a checkpoint of this very stage: everything that training changes must be there.

    LoRA adapters alone may begin here: where the file holds none they start as they always do, changing nothing. Where
    it holds them without their alpha, as older ones do, that of ``network`` stays.
    """
    network_kind = "stage 1" if isinstance(network, PretrainingNetwork) else "caption network"
    state = read_state(path)
    adapted = isinstance(network, CaptionNetwork) and network.language_model.adapted
    report = load_parameters(
        network,
        state,
        source=f"{network_kind} {path}",
        may_miss=(ALPHA_NAMES if any(fnmatch.fnmatchcase(name, ADAPTER_NAMES) for name in state) else ADAPTER_NAMES,),
        may_ignore=(ADAPTER_NAMES,) if adapted else (),  # they are in the weights already
    )
    report.random = [name for name in report.random if not fnmatch.fnmatchcase(name, ALPHA_NAMES)]  # a setting
    return report


def trained_network(network: nn.Module, path: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """``network`` with the checkpoint ``path`` loaded, in eval mode, on ``device``."""
    load_trained(network, path)
    return network.to(device_of(device)).eval()


def export_encoder(path: str | Path, branch: str, output: str | Path) -> Path:
    """Write the tuned encoder that a checkpoint holds as a file that the encoder's ``weights`` can name.

    Args:
        path: ``model.pt`` of a run whose encoder was trained: by concepts (``ConceptNetwork``) or in stage 1.
        branch: ``general`` or ``detail``.
        output: file to write, atomically.

    Raises:
        WeightsError: the checkpoint holds no parameter of that branch's encoder.
    """
    trained = read_state(path)
    state = {}
    for prefix in (f"branches.{branch}.branch.encoder.", "encoder."):
        state = state or {n.removeprefix(prefix): value for n, value in trained.items() if n.startswith(prefix)}
    if not state:
        raise WeightsError(f"{path} holds no tuned {branch} encoder: its run did not train that encoder")
    stored = {name: v.half() if v.is_floating_point() else v for name, v in state.items()}
    return write_sealed(output, stored)
