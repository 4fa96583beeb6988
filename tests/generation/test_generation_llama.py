"""Our Llama and our reader of tokenizer files against those of `transformers`, on the same weights and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_language_models import END, PAD, VOCABULARY, left_padding, prefixes, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from scripts.errors import WeightsError
from scripts.generation import GenerationOptions, Generator
from scripts.generation.llama import Llama, load_llama
from scripts.generation.tokenizer import FileTokenizer

TOLERANCE = {"atol": 2e-5, "rtol": 1e-5}  # float32 sums in another order


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    model = tiny_model("llama", early_end=False)
    torch.manual_seed(4)
    model.lm_head = torch.nn.Linear(model.lm_head.in_features, VOCABULARY, bias=False)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    config = json.loads(theirs.config.to_json_string(use_diff=False)) | {"tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: value.contiguous() for name, value in theirs.state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> Llama:
    return load_llama(folder)


IDS = torch.randint(0, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(0))


def test_logits_equal_transformers(theirs: torch.nn.Module, ours: Llama) -> None:
    expected = theirs(input_ids=IDS).logits
    torch.testing.assert_close(ours(input_ids=IDS).logits, expected, **TOLERANCE)
    embedded = ours.get_input_embeddings()(IDS)
    torch.testing.assert_close(ours(inputs_embeds=embedded, logits_to_keep=2).logits, expected[:, -2:], **TOLERANCE)
    assert expected.std() > 0.5  # so that equality means something


def test_padding_is_not_seen(theirs: torch.nn.Module, ours: Llama) -> None:
    mask = left_padding(3, 9).long()
    expected = theirs(input_ids=IDS, attention_mask=mask).logits
    actual = ours(input_ids=IDS, attention_mask=mask).logits
    torch.testing.assert_close(actual[mask > 0], expected[mask > 0], **TOLERANCE)
    assert not torch.allclose(expected[2], theirs(input_ids=IDS).logits[2], atol=1e-2)


def test_attention_weights_equal_transformers(theirs: torch.nn.Module, ours: Llama) -> None:
    for model in (theirs, ours):
        model.set_attn_implementation("eager")
    try:
        expected = theirs(input_ids=IDS, output_attentions=True)
        actual = ours(input_ids=IDS, output_attentions=True)
    finally:
        for model in (theirs, ours):
            model.set_attn_implementation("sdpa")
    torch.testing.assert_close(actual.logits, expected.logits, **TOLERANCE)
    for mine, their in zip(actual.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(mine, their, **TOLERANCE)


def test_gradients_equal_transformers(theirs: torch.nn.Module, ours: Llama) -> None:
    prefix = prefixes(2).requires_grad_()
    expected, actual = (
        torch.autograd.grad(model(inputs_embeds=prefix).logits.logsumexp(-1).sum(), prefix)[0]
        for model in (theirs, ours)
    )
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    "options", [{"num_beams": 4}, {"num_beams": 1}, {"do_sample": True, "num_return": 2, "seed": 3}]
)
def test_captions_equal_those_of_transformers_model(
    theirs: torch.nn.Module, ours: Llama, options: dict, pack: bool
) -> None:
    made = [
        Generator(model, eos_token_id=END, pad_token_id=PAD, pack_weights=pack).generate(
            prefixes(4), left_padding(4), GenerationOptions(max_new_tokens=10, **options)
        )
        for model in (theirs, ours)
    ]
    assert torch.equal(made[0].token_ids, made[1].token_ids)
    torch.testing.assert_close(made[0].token_logprobs, made[1].token_logprobs, atol=1e-4, rtol=1e-4)


def test_reordering_decoder_runs_it_too(ours: Llama) -> None:
    options = GenerationOptions(max_new_tokens=6, num_beams=3)
    shared, reordered = (
        Generator(ours, eos_token_id=END, pad_token_id=PAD, shared_prefix=shared, pack_weights=False).generate(
            prefixes(3), left_padding(3), options
        )
        for shared in (True, False)
    )
    assert torch.equal(shared.token_ids, reordered.token_ids)


def test_another_architecture_is_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for change, named in (
        ({"model_type": "gemma"}, "model_type"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "scaled"),
    ):
        with pytest.raises(WeightsError, match=named):
            Llama(config | change)
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "head_dim"}))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="head_dim is missing"):
        load_llama(tmp_path)


def test_weights_of_another_size_and_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(WeightsError, match="holds no language model"):
        load_llama(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(WeightsError, match="holds no language model"):
        load_llama(tmp_path)
    state = load_file(folder / "model.safetensors")
    state.pop("model.norm.weight")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="model.norm.weight"):
        load_llama(tmp_path)
    state["model.norm.weight"] = torch.ones(7)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="model.norm.weight"):
        load_llama(tmp_path)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte pairs, as GPT-2 and SmolLM have them, of a few merges."""
    folder = tmp_path_factory.mktemp("tokenizer")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "c"), ("Ġc", "t"), ("a", "x")]
    words = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, *("".join(pair) for pair in merges)]
    file = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=merges))
    file.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    file.decoder = decoders.ByteLevel()
    named = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    marks = {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=file, **named, **marks).save_pretrained(folder)
    return folder


TEXTS = ["axial ct of the chest", "Ödem, 3 mm", "", "  two  spaces <|im_end|>"]


def test_tokens_and_texts_equal_transformers(tokenizer_folder: Path) -> None:
    theirs, ours = AutoTokenizer.from_pretrained(tokenizer_folder), FileTokenizer(tokenizer_folder)
    assert ours(TEXTS, add_special_tokens=False)["input_ids"] == theirs(TEXTS, add_special_tokens=False)["input_ids"]
    ids = ours(TEXTS[0], add_special_tokens=False)["input_ids"]
    assert ids == theirs(TEXTS[0], add_special_tokens=False)["input_ids"] and len(ids) < len(TEXTS[0])
    assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
    rows = torch.tensor([[2, 40, 41], [50, 1, 0]])
    for skip in (False, True):
        assert ours.batch_decode(rows, skip_special_tokens=skip) == theirs.batch_decode(rows, skip_special_tokens=skip)
        assert ours.batch_decode(list(rows), skip_special_tokens=skip) == theirs.batch_decode(
            list(rows), skip_special_tokens=skip
        )
        assert ours.decode(rows[0], skip_special_tokens=skip) == theirs.decode(rows[0], skip_special_tokens=skip)
        assert ours.decode([60, 61], skip_special_tokens=skip) == theirs.decode([60, 61], skip_special_tokens=skip)
    assert len(ours) == len(theirs) and set(ours.all_special_ids) == set(theirs.all_special_ids)
    assert (ours.eos_token_id, ours.pad_token_id) == (theirs.eos_token_id, theirs.pad_token_id) == (2, 0)
    ours.eos_token = "a"
    assert ours.convert_ids_to_tokens([ours.eos_token_id]) == ["a"]


def test_a_folder_without_tokenizer_is_refused(tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no tokenizer"):
        FileTokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_bytes((tokenizer_folder / "tokenizer_config.json").read_bytes())
    (tmp_path / "tokenizer.json").write_bytes((tokenizer_folder / "tokenizer.json").read_bytes()[:200])
    with pytest.raises(WeightsError, match="holds no tokenizer"):
        FileTokenizer(tmp_path)
