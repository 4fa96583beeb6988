"""Linear layers in int8 for captioning on a CPU: weights per output channel, activations per row of each call.

Weights are rounded once, ``w ~ scale[row] * q`` with ``q`` in [-127, 127]. Activations are divided by the largest value
of their row before PyTorch rounds them to 8 bits: it takes one scale a call, and in a language model the first position
is thousands of times larger than the others, which would leave them nothing (measured on SmolLM2-135M: next-token
distributions 2.4 nats from the float ones without, 0.1 with). Lossy all the same; nothing can be trained through it.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from scripts.errors import InputError

PRECISIONS = ("float32", "bfloat16", "float16", "int8")


class Int8Linear(nn.Module):
    """``[..., in] -> [..., out]`` as ``linear`` computes it, approximately.

    Raises:
        InputError: at a call, where gradients are wanted: rounding has none.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        zero = torch.zeros(len(scale), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*quantized tensor creation")  # torch 2.13 means to drop them
            rounded = torch.quantize_per_channel(weight, scale.double(), zero, axis=0, dtype=torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(rounded, None)
        bias = torch.zeros(self.out_features) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias, persistent=False)
        # Without VNNI, sums of two products are kept in 16 bits: 7-bit activations never overflow them.
        self._seven_bits = not torch.cpu._is_vnni_supported()

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.requires_grad and torch.is_grad_enabled():
            raise InputError("nothing can be trained through int8 layers: set the precision to float32 or bfloat16")
        with torch.autocast("cpu", enabled=False):
            rows = inputs.reshape(-1, self.in_features).float()
            peak = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
            products = torch.ops.quantized.linear_dynamic(rows / peak, self._packed, self._seven_bits)
            outputs = torch.addcmul(self.bias, products, peak)
        return outputs.reshape(*inputs.shape[:-1], self.out_features).to(inputs.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def to_int8(module: nn.Module) -> nn.Module:
    """``module`` with every ``nn.Linear`` inside it replaced by its :class:`Int8Linear`; changed in place.

    Raises:
        InputError: it is not on the CPU, this build of PyTorch has no int8 products, or it has no linear layer.
    """
    if any(parameter.device.type != "cpu" for parameter in module.parameters()):
        raise InputError("int8 is for the CPU: choose bfloat16 on a GPU")
    if torch.backends.quantized.engine == "none":
        raise InputError("this build of PyTorch has no int8 products: choose bfloat16 or float32")
    owners = [(owner, name) for owner in module.modules() for name, child in owner.named_children() if _plain(child)]
    if not owners:
        raise InputError(f"{type(module).__name__} has no linear layers that int8 would speed up: leave it at float32")
    for owner, name in owners:
        setattr(owner, name, Int8Linear(getattr(owner, name)))
    return module


def _plain(module: nn.Module) -> bool:
    """Whether a layer computes what ``nn.Linear`` does; subclasses may compute something else."""
    return type(module) is nn.Linear


def in_precision(encoder: nn.Module, dtype: str) -> nn.Module:
    """A frozen encoder in another precision, for inference; changed in place.

    Args:
        encoder: a ``scripts.encoders.frozen.FrozenEncoder``.
        dtype: ``"float32"`` leaves it as it is, ``"bfloat16"`` and ``"float16"`` convert it, ``"int8"`` rounds its
            linear layers.

    Raises:
        InputError: another name, or int8 is impossible for it.
    """
    if dtype not in PRECISIONS:
        raise InputError(f"the precision of an encoder is one of {', '.join(PRECISIONS)}, not {dtype!r}")
    if dtype == "float32":
        return encoder
    encoder.requires_grad_(False)
    encoder.settings["precision"] = dtype  # its fingerprint must differ
    return to_int8(encoder) if dtype == "int8" else encoder.to(getattr(torch, dtype))
