"""Packed weights: the same product and captions, up to date when weights change, left out where they must be."""

from __future__ import annotations

import pytest
import torch
from tiny_language_models import CONFIGS, END, PAD, left_padding, prefixes, reference, tiny_model

from scripts.errors import InputError
from scripts.generation import GenerationOptions, Generator, packing
from scripts.generation.packing import can_be_packed, packed, worth_packing
from scripts.kernels import packed_linear
from scripts.kernels.packed_linear import PackedLinear, type_can_be_packed

needs_packing = pytest.mark.skipif(
    not can_be_packed(torch.nn.Linear(1, 1)), reason="this build of torch has no oneDNN on this CPU"
)

needs_bfloat16 = pytest.mark.skipif(
    not type_can_be_packed(torch.bfloat16), reason="this processor has no bfloat16 units"
)


def test_a_type_that_the_processor_lacks_is_multiplied_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (packing, packed_linear):
        monkeypatch.setattr(module, "type_can_be_packed", lambda dtype: dtype == torch.float32)
    linear = torch.nn.Linear(48, 80).to(torch.bfloat16).requires_grad_(False)
    inputs = torch.randn(5, 48).to(torch.bfloat16)
    assert not can_be_packed(linear) and not worth_packing(linear)
    assert torch.equal(PackedLinear(linear)(inputs), linear(inputs))


@needs_packing
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 2e-2, marks=needs_bfloat16)]
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (5, 48), (2, 7, 48)])
def test_same_product(dtype: torch.dtype, tolerance: float, bias: bool, shape: tuple[int, ...]) -> None:
    linear = torch.nn.Linear(48, 80, bias=bias).to(dtype).requires_grad_(False)
    inputs = torch.randn(shape).to(dtype)
    exact = torch.nn.functional.linear(inputs.double(), linear.weight.double(), linear.bias.double() if bias else None)
    found = PackedLinear(linear)(inputs)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), exact, atol=tolerance, rtol=tolerance)


@needs_packing
@pytest.mark.parametrize("architecture", list(CONFIGS))
@pytest.mark.parametrize("beams", [1, 5])
def test_same_captions(architecture: str, beams: int) -> None:
    model = tiny_model(architecture).requires_grad_(False)
    options = GenerationOptions(num_beams=beams, max_new_tokens=12)
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD, pack_weights=True)
    found = generator.generate(prefixes(5), left_padding(5), options).token_ids
    assert torch.equal(found, reference(model, prefixes(5), left_padding(5), num_beams=beams))


@needs_packing
def test_changed_weights_are_packed_again() -> None:
    linear = torch.nn.Linear(8, 6).requires_grad_(False)
    twin, inputs = PackedLinear(linear), torch.randn(3, 8)
    for change in (
        lambda: linear.weight.mul_(2),
        lambda: linear.load_state_dict(torch.nn.Linear(8, 6).state_dict()),
        lambda: setattr(linear, "weight", torch.nn.Parameter(torch.ones(6, 8))),
        lambda: linear.double(),
    ):
        twin(inputs.to(linear.weight.dtype))
        change()
        found = twin(inputs.to(linear.weight.dtype))
        assert torch.allclose(found, linear(inputs.to(linear.weight.dtype)), atol=1e-6)


@needs_packing
def test_the_twin_owns_nothing() -> None:
    model = tiny_model("opt")
    before = {name: id(value) for name, value in model.named_parameters()}
    twin = packed(model)
    assert {name: id(value) for name, value in model.named_parameters()} == before
    assert not any(isinstance(part, PackedLinear) for part in model.modules())
    linears = sum(isinstance(part, torch.nn.Linear) for part in model.modules())
    assert sum(isinstance(part, PackedLinear) for part in twin.modules()) == linears
    assert all(id(value) in before.values() for value in twin.parameters())


@needs_packing
def test_a_part_put_in_later_is_used() -> None:
    model = tiny_model("opt").requires_grad_(False)
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD, pack_weights=True)
    options = GenerationOptions(max_new_tokens=6)
    generator.generate(prefixes(2), None, options)
    model.lm_head = torch.nn.Linear(32, 199).requires_grad_(False)
    found = generator.generate(prefixes(2), None, options).token_ids
    assert torch.equal(found, reference(model, prefixes(2), max_new_tokens=6))


@needs_packing
def test_only_frozen_small_models_are_packed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("opt")
    assert not worth_packing(model)
    model.requires_grad_(False)
    assert worth_packing(model)
    monkeypatch.setattr("scripts.generation.packing.AUTOMATIC_LIMIT", 1000)
    assert not worth_packing(model)


def test_packing_what_cannot_be_packed_says_so() -> None:
    model = tiny_model("opt").double()
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD, pack_weights=True)
    with pytest.raises(InputError, match="pack_weights"):
        generator.generate(prefixes(1), None, GenerationOptions())
    Generator(model, eos_token_id=END, pad_token_id=PAD).generate(
        prefixes(1), None, GenerationOptions(max_new_tokens=2)
    )
