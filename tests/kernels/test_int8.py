"""int8 layers against the float ones, whole models in int8, and the refusal to train."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from scripts.encoders.frozen import FrozenEncoder
from scripts.errors import InputError
from scripts.generation import GenerationOptions, Generator
from scripts.kernels.int8 import Int8Linear, in_precision, to_int8
from scripts.networks.language_model import LanguageModel


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_off_by_a_few_percent(bias: bool) -> None:
    linear = nn.Linear(256, 128, bias=bias)
    inputs = torch.randn(5, 7, 256)
    with torch.no_grad():
        wanted, found = linear(inputs), Int8Linear(linear)(inputs)
        assert found.shape == wanted.shape
        assert (found - wanted).norm() / wanted.norm() < 0.03


def test_one_huge_row_takes_nothing_from_the_others() -> None:
    """The first position of a language model is thousands of times larger than the rest."""
    linear, inputs = nn.Linear(256, 128), torch.randn(6, 256)
    inputs[0] *= 5000
    with torch.no_grad():
        wanted, found = linear(inputs), Int8Linear(linear)(inputs)
    assert ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max() < 0.03


def test_half_precision_goes_in_and_comes_out() -> None:
    layer = Int8Linear(nn.Linear(64, 32))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(3, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


def tiny_llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=97, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_a_language_model_in_int8_writes_and_stays_near_the_float_one() -> None:
    model = tiny_llama()
    ids = torch.randint(0, 97, (2, 12))
    with torch.no_grad():
        wanted = model(ids).logits
        found = to_int8(model)(ids).logits
    assert (found - wanted).norm() / wanted.norm() < 0.05
    assert not any(type(module) is nn.Linear for module in model.modules())
    generator = Generator(model, eos_token_id=0, pad_token_id=0)
    made = generator.generate(torch.randn(2, 5, 64), None, GenerationOptions(num_beams=3, max_new_tokens=6))
    assert made.token_ids.shape == (2, 6)


def test_nothing_is_trained_through_int8() -> None:
    class Tokenizer:
        pad_token_id, eos_token_id = 0, 0

    model = LanguageModel(model=tiny_llama(), tokenizer=Tokenizer(), dtype="int8")
    assert model.dtype == torch.float32
    ids, mask = torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        assert torch.isfinite(model.loss(torch.randn(1, 4, 64), torch.ones(1, 4), ids, mask))
    with pytest.raises(InputError, match="nothing can be trained through int8"):
        model.loss(torch.randn(1, 4, 64, requires_grad=True), torch.ones(1, 4), ids, mask)
    with pytest.raises(InputError, match="lora_rank"):
        LanguageModel(model=tiny_llama(), tokenizer=Tokenizer(), dtype="int8", lora_rank=4)
    with pytest.raises(InputError, match="int7"):
        LanguageModel(model=tiny_llama(), tokenizer=Tokenizer(), dtype="int7")


class Encoder(FrozenEncoder):
    def __init__(self, *, linear: bool) -> None:
        super().__init__(width=8, grid=(2, 2), input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
        self.patch = nn.Conv2d(3, 8, 8, stride=8)
        self.mix = nn.Linear(8, 8) if linear else nn.Identity()
        self._freeze()

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.mix(self.patch(pixels).flatten(2).transpose(1, 2))

    def block_groups(self) -> list[list[nn.Module]]:
        return [[self.mix]]


@pytest.mark.parametrize(("dtype", "error"), [("int8", 0.05), ("bfloat16", 0.02)])
def test_an_encoder_in_another_precision(dtype: str, error: float) -> None:
    encoder, image = Encoder(linear=True), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        wanted, before = encoder(image), encoder.fingerprint()
        found = in_precision(encoder, dtype)(image).float()
    assert (found - wanted).norm() / wanted.norm() < error
    assert encoder.fingerprint() != before


def test_precisions_that_make_no_sense_are_refused() -> None:
    assert in_precision(encoder := Encoder(linear=False), "float32") is encoder
    with pytest.raises(InputError, match="no linear layers"):
        in_precision(Encoder(linear=False), "int8")
    with pytest.raises(InputError, match="int4"):
        in_precision(Encoder(linear=True), "int4")
