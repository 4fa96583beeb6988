"""Each architecture named as fit for the shared prefix is compared with transformers; others take the other decoder."""

from __future__ import annotations

import pytest
import torch
from tiny_language_models import CONFIGS, END, PAD, VOCABULARY, WIDTH, left_padding, prefixes, reference, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from scripts.generation import GenerationOptions, Generator
from scripts.generation.decoders import SHARED_PREFIX_MODELS, SharedPrefixDecoder, supports_shared_prefix

COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": PAD,
    "bos_token_id": 2,
    "eos_token_id": END,
}
OTHERS = sorted(SHARED_PREFIX_MODELS - set(CONFIGS))
UNFIT = {
    "bloom": {"n_head": 4, "n_layer": 3},
    "gpt_neo": {"num_layers": 3, "num_heads": 4, "attention_types": [[["global", "local"], 1], [["global"], 1]]},
}


def random_model(model_type: str, **values) -> torch.nn.Module:
    torch.manual_seed(3)
    head = {} if model_type in UNFIT else {"head_dim": 8}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **COMMON, **head, **values)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return model


@pytest.mark.parametrize("model_type", [*OTHERS, *UNFIT])
def test_same_tokens_as_transformers(model_type: str) -> None:
    model = random_model(model_type, **UNFIT.get(model_type, {}))
    assert supports_shared_prefix(model, 20) == (model_type not in UNFIT)
    prefix, mask = prefixes(5), left_padding(5)
    for beams in (1, 4):
        options = GenerationOptions(max_new_tokens=12, num_beams=beams)
        found = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefix, mask, options)
        assert torch.equal(found.token_ids, reference(model, prefix, mask, num_beams=beams))


def test_a_window_shorter_than_the_sequence_takes_the_other_decoder() -> None:
    """The shared prefix is laid out for full attention; a sliding window would cut it."""
    model = random_model("mistral", sliding_window=10)
    assert supports_shared_prefix(model, 10)
    assert not supports_shared_prefix(model, 11)
    options = GenerationOptions(max_new_tokens=12, num_beams=4)
    found = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefixes(5), None, options)
    assert torch.equal(found.token_ids, reference(model, prefixes(5), num_beams=4))


def test_a_step_adds_keys_for_new_tokens_only() -> None:
    """The prefix is run once an image and stored once, however many captions share it."""
    model = tiny_model("opt")
    shapes = []
    model.model.decoder.layers[0].register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[:2])))
    decoder = SharedPrefixDecoder(model, captions=5, max_new_tokens=4)
    with torch.no_grad():
        decoder.prefill(prefixes(3), torch.ones(3, 7, dtype=torch.bool))
        keys = decoder.cache.layers[0].keys
        before = keys[:, :, :7].clone()
        for _ in range(3):
            decoder.step(torch.randint(VOCABULARY, (3, 5)), torch.randint(5, (3, 5)))
    assert shapes == [(3, 7), (3, 5), (3, 5), (3, 5)]
    assert decoder.cache.layers[0].keys is keys
    assert keys.shape == (3, 4, 7 + 3 * 5, 8)
    assert torch.equal(keys[:, :, :7], before)


def test_a_low_rank_adapter_is_used() -> None:
    """A PEFT wrapper hides the model's signature; the adapter must still act."""
    peft = pytest.importorskip("peft")
    plain = tiny_model("llama")
    options = GenerationOptions(max_new_tokens=8, num_beams=3)
    before = Generator(plain, eos_token_id=END, pad_token_id=PAD).generate(prefixes(4), None, options)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = peft.get_peft_model(plain, settings).eval()
    found = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefixes(4), None, options)
    assert torch.equal(found.token_ids, reference(model, prefixes(4), max_new_tokens=8, num_beams=3))
    assert not torch.equal(found.token_ids, before.token_ids)
