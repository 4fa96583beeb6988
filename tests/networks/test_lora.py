"""Adapters added into weights against ``peft``'s own layers, on three kinds of language model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from scripts.errors import WeightsError
from scripts.networks.language_model import LanguageModel
from scripts.networks.lora import adapters_in, add_adapters
from scripts.weights.loading import load_parameters
from scripts.weights.saving import trained_state

WIDTH, WORDS, ALPHA = 32, 61, 16.0


class Tokenizer:
    pad_token_id, eos_token_id = 0, 0


def llama() -> nn.Module:
    sizes = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, vocab_size=WORDS))


def opt() -> nn.Module:
    sizes = {"hidden_size": WIDTH, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return OPTForCausalLM(OPTConfig(**sizes, vocab_size=WORDS, word_embed_proj_dim=WIDTH))


def gpt2() -> nn.Module:
    """Its linear layers keep ``[in, out]``, and one of them is square."""
    return GPT2LMHeadModel(GPT2Config(n_embd=WIDTH, n_layer=2, n_head=4, vocab_size=WORDS))


def same_start(kind: object) -> nn.Module:
    torch.manual_seed(3)
    return kind().eval()


def trained(kind: object, rank: int = 4, alpha: float = ALPHA) -> tuple[LanguageModel, dict[str, torch.Tensor]]:
    """A language model with adapters that are not at their start, and what an older checkpoint would hold of it."""
    model = LanguageModel(model=same_start(kind), tokenizer=Tokenizer(), lora_rank=rank, lora_alpha=alpha).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.2)
    learned = {f"language_model.{n}": p.detach() for n, p in model.named_parameters() if p.requires_grad}
    return model, learned


@pytest.mark.parametrize("kind", [llama, opt, gpt2])
def test_added_adapters_compute_what_the_wrapped_model_does(tmp_path: Path, kind: object) -> None:
    """1e-5: sums of float32 products in another order."""
    wrapped, learned = trained(kind)
    torch.save(learned, tmp_path / "model.pt")
    merged = LanguageModel(model=same_start(kind), tokenizer=Tokenizer(), adapters=tmp_path / "model.pt")
    ids = torch.randint(0, WORDS, (2, 9))
    with torch.no_grad():
        wanted, plain = wrapped.model(ids).logits, same_start(kind)(ids).logits
        torch.testing.assert_close(merged.model(ids).logits, wanted, atol=1e-5, rtol=1e-5)
    assert (wanted - plain).abs().max() > 0.01  # the adapters matter
    assert merged.adapted and not merged.tunable
    assert not any(parameter.requires_grad for parameter in merged.parameters())


def test_they_are_there_before_int8_rounds(tmp_path: Path) -> None:
    wrapped, learned = trained(llama)
    torch.save(learned, tmp_path / "model.pt")
    rounded = LanguageModel(
        model=same_start(llama), tokenizer=Tokenizer(), adapters=tmp_path / "model.pt", dtype="int8"
    )
    ids = torch.randint(0, WORDS, (2, 9))
    with torch.no_grad():
        wanted, found, plain = wrapped.model(ids).logits, rounded.model(ids).logits, same_start(llama)(ids).logits
    assert (found - wanted).norm() / wanted.norm() < 0.08 < (plain - wanted).norm() / wanted.norm()


def test_a_checkpoint_without_adapters_changes_nothing(tmp_path: Path) -> None:
    torch.save({"branches.general.query_tokens": torch.ones(2)}, tmp_path / "model.pt")
    model = LanguageModel(model=same_start(llama), tokenizer=Tokenizer(), adapters=tmp_path / "model.pt")
    assert not model.adapted
    for name, value in same_start(llama).state_dict().items():
        assert torch.equal(model.model.state_dict()[name], value), name


def test_adapters_of_another_model_are_refused() -> None:
    _, learned = trained(llama)
    found = adapters_in(learned)
    assert len(found) == len(learned) == 2 * 2 * 7  # two layers of seven linear maps
    first = next(name for name in found if "lora_A" in name)
    half = {name: value for name, value in found.items() if name != first.replace("lora_A", "lora_B")}
    with pytest.raises(WeightsError, match="other half"):
        add_adapters(same_start(llama), half, alpha=ALPHA, source="model.pt")
    with pytest.raises(WeightsError, match="trained with another one"):
        add_adapters(same_start(opt), found, alpha=ALPHA, source="model.pt")
    wide = {name: torch.cat([value, value], dim=1) if "lora_A" in name else value for name, value in found.items()}
    with pytest.raises(WeightsError, match="of another language model"):
        add_adapters(same_start(llama), wide, alpha=ALPHA, source="model.pt")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_alpha_comes_with_the_checkpoint(tmp_path: Path, dtype: torch.dtype) -> None:
    """Trained with another alpha than the default: the same logits, added into weights or wrapped to learn on."""
    wrapped, _ = trained(llama, alpha=40.0)
    learned = {name: value.to(dtype) for name, value in trained_state(wrapped).items()}
    for name, value in learned.items():
        wrapped.get_parameter(name).data.copy_(value) if not name.endswith("alpha") else None
    torch.save({f"language_model.{name}": value for name, value in learned.items()}, tmp_path / "model.pt")
    merged = LanguageModel(model=same_start(llama), tokenizer=Tokenizer(), adapters=tmp_path / "model.pt")
    again = LanguageModel(model=same_start(llama), tokenizer=Tokenizer(), lora_rank=4).eval()
    load_parameters(again, learned, source="model.pt")
    ids = torch.randint(0, WORDS, (2, 9))
    with torch.no_grad():
        wanted = wrapped.model(ids).logits
        torch.testing.assert_close(merged.model(ids).logits, wanted, atol=1e-4, rtol=1e-4)
        assert torch.equal(again.model(ids).logits, wanted)
    assert torch.equal(trained_state(again)[next(n for n in learned if n.endswith("alpha"))], torch.tensor(40.0))


def test_a_file_from_before_alpha_was_stored_keeps_the_one_asked_for(tmp_path: Path) -> None:
    wrapped, learned = trained(llama, alpha=40.0)
    assert not any(name.endswith("alpha") for name in learned)
    torch.save(learned, tmp_path / "model.pt")
    ids = torch.randint(0, WORDS, (2, 9))
    with torch.no_grad():
        wanted = wrapped.model(ids).logits
        for alpha, same in ((40.0, True), (16.0, False)):
            options = {"tokenizer": Tokenizer(), "adapters": tmp_path / "model.pt", "lora_alpha": alpha}
            merged = LanguageModel(model=same_start(llama), **options)
            assert torch.allclose(merged.model(ids).logits, wanted, atol=1e-4) is same
