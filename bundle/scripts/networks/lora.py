"""LoRA adapters on a language model: wrapped around it to be trained, added into its weights to caption.

``W' = W + (alpha / rank) * B A`` for every linear layer of the transformer blocks (Hu et al., ICLR 2022, arXiv
2106.09685, equation 3). Training leaves ``W`` alone and learns ``A`` ``[rank, in]`` and ``B`` ``[out, rank]``, by the
package ``peft``. Captioning needs no such layers: once added, a model is as quick as before and can go to int8.

``alpha`` is stored beside each ``A``, so that a checkpoint means one captioner; files from before hold none.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scripts.errors import WeightsError
from scripts.kernels.half_linear import are_half

_WRAPPER = "base_model.model."  # what peft puts before a wrapped model's names
_DOWN, _UP, _ALPHA = ".lora_A.default.weight", ".lora_B.default.weight", ".lora_A.default.alpha"
ADAPTER_NAMES = "language_model.*.lora_*"
"""Pattern of the names of adapters in a caption network's checkpoint."""
ALPHA_NAMES = f"*{_ALPHA}"
"""Pattern of the names that checkpoints may lack: those written before alpha was stored."""


def with_adapters(model: nn.Module, *, rank: int, alpha: float, dropout: float) -> nn.Module:
    """``model`` wrapped with adapters that learn, on all linear layers but the output layer.

    Raises:
        WeightsError: ``peft`` is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise WeightsError("lora_rank needs the package peft: pip install peft") from error
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    wrapped = get_peft_model(model, config)
    for layer in _adapted_layers(wrapped):
        layer.lora_A["default"].register_buffer("alpha", torch.tensor(float(alpha)))
    return wrapped


def follow_alpha(model: nn.Module) -> None:
    """Let the adapters of a wrapped model count as their ``alpha`` says, which a checkpoint may have changed."""
    for layer in _adapted_layers(model):
        down = layer.lora_A["default"]
        layer.scaling["default"] = float(down.alpha) / down.out_features


def _adapted_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if "default" in getattr(module, "lora_A", ())]


def adapters_in(state: Mapping[str, Tensor], prefix: str = "language_model.model.") -> dict[str, Tensor]:
    """The adapters that a checkpoint holds, and their alpha where it does, named as inside the language model.

    Empty where it was trained without.
    """
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {name: value for name, value in inside.items() if name.endswith((_DOWN, _UP, _ALPHA))}


@torch.no_grad()
def add_adapters(model: nn.Module, adapters: Mapping[str, Tensor], *, alpha: float, source: str) -> nn.Module:
    """Add trained adapters into the weights of a model that was never wrapped; changed in place.

    Args:
        model: sums are made in float32 and rounded to the precision that the weights have: to float16 also where
            float32 holds float16 numbers, so that decoding can read them as such (`scripts.kernels.half_linear`).
        adapters: of :func:`adapters_in`.
        alpha: as in training, of adapters that come without their own.
        source: what to call them in messages.

    Raises:
        WeightsError: an adapter has no counterpart, no layer, or does not fit the layer.
    """
    for name, down in adapters.items():
        if not name.endswith(_DOWN):
            continue
        layer_name = name.removeprefix(_WRAPPER).removesuffix(_DOWN)
        up, own_alpha = (adapters.get(name.removesuffix(_DOWN) + part) for part in (_UP, _ALPHA))
        if up is None:
            raise WeightsError(f"{source} lacks the other half of {name!r}: it is damaged")
        layer = _layer(model, layer_name, source)
        turned = type(layer).__name__ == "Conv1D"  # GPT-2's linear layers keep [in, out]
        left, right = (down.T, up.T) if turned else (up, down)
        if layer.weight.shape != (left.shape[0], right.shape[1]):
            raise WeightsError(f"{source}: the adapter of {layer_name!r} is of another language model: check its name")
        _add_product(layer.weight, left, right, float(alpha if own_alpha is None else own_alpha) / len(down))
    return model


def _add_product(weight: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """``weight += scale * left @ right``, the sum in float32; float16 numbers stay such, whatever type holds them."""
    left, right = (factor.to(weight.device, torch.float32) for factor in (left, right))
    total = torch.addmm(weight.float(), left, right, alpha=scale)
    weight.copy_(total.half() if are_half(weight) else total)


def _layer(model: nn.Module, name: str, source: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise WeightsError(
            f"{source} adapts {name!r}, which this language model has not: it was trained with another one"
        ) from error
