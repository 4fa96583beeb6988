"""Weights of encoders, BERT and language models: a tiny checkpoint with its real keys computes as its source model
does, says in a table what was loaded, and may lack no key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    SamConfig,
    SamModel,
)

import tiny_blip2 as tiny
from scripts.checkpoints.stages import start_from_text_encoder, text_tokenizer
from scripts.encoders.class_token import CLIP_MEAN, CLIP_STD
from scripts.encoders.clip import ClipEncoder
from scripts.encoders.eva import EvaEncoder
from scripts.encoders.sam import SAM_MEAN, SAM_STD, SamEncoder
from scripts.encoders.sam_vit import SamSize
from scripts.errors import WeightsError
from scripts.networks.branch import Branch
from scripts.networks.language_model import LanguageModel
from scripts.networks.pretraining_network import PretrainingBranch
from scripts.networks.qformer import QFormer

SAM = SamSize(width=24, depth=2, heads=2, global_blocks=(1,))
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
IDS = torch.tensor([[1, 9, 8, 7], [1, 20, 21, 22]])


class Checkpoint(NamedTuple):
    """A written checkpoint: where, what loads it, what the source gives, what the loaded one gives, keys to remove."""

    path: Path
    load: Callable[[Path], nn.Module]
    expected: Tensor
    actual: Callable[[nn.Module], Tensor]
    keys: tuple[str, ...]


def picture(side: int) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(4))


def normalised(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def sam_of_transformers() -> SamModel:
    small = {"hidden_size": 256, "num_attention_heads": 2, "mlp_dim": 16, "num_hidden_layers": 1}
    vision = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 24, "mlp_dim": 96, "image_size": 64}
    config = SamConfig(vision_config=vision | {"global_attn_indexes": [1]}, mask_decoder_config=small)
    return tiny._spread(SamModel(config), std=0.1)


def sam_huggingface(folder: Path) -> Checkpoint:
    model = sam_of_transformers()
    model.save_pretrained(folder)
    return Checkpoint(
        folder,
        lambda path: SamEncoder(weights=path, size=SAM, input_size=64),
        model.vision_encoder(normalised(picture(64), SAM_MEAN, SAM_STD)).last_hidden_state,
        lambda encoder: encoder.features(encoder.prepare(picture(64))),
        ("vision_encoder.layers.1.layer_norm1.weight", "vision_encoder.neck.conv1.weight", "vision_encoder.pos_embed"),
    )


def meta_names(model: SamModel) -> dict[str, Tensor]:
    """Keys of ``sam_vit_b_01ec64.pth``, by hand: its image encoder and some of the rest."""
    state = {}
    for key, value in model.vision_encoder.state_dict().items():
        key = re.sub(r"^layers\.(\d+)\.layer_norm", r"blocks.\1.norm", key)
        key = re.sub(r"^layers\.", "blocks.", key).replace("patch_embed.projection", "patch_embed.proj")
        for theirs, number in (("conv1", 0), ("layer_norm1", 1), ("conv2", 2), ("layer_norm2", 3)):
            key = key.replace(f"neck.{theirs}.", f"neck.{number}.")
        state[f"image_encoder.{key}"] = value
    state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = torch.zeros(2, 128)
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)
    return state


def sam_meta(folder: Path) -> Checkpoint:
    model = sam_of_transformers()
    torch.save(meta_names(model), folder / "sam_vit_b_01ec64.pth")
    return Checkpoint(
        folder / "sam_vit_b_01ec64.pth",
        lambda path: SamEncoder(weights=path, size=SAM, input_size=64),
        model.vision_encoder(normalised(picture(64), SAM_MEAN, SAM_STD)).last_hidden_state,
        lambda encoder: encoder.features(encoder.prepare(picture(64))),
        ("image_encoder.blocks.0.attn.qkv.weight", "image_encoder.neck.3.bias", "image_encoder.blocks.1.norm2.bias"),
    )


def medsam(folder: Path) -> Checkpoint:
    """A checkpoint of MedSAM's training script: Meta's names under ``model``, trained on pixels in [0, 1]."""
    model = sam_of_transformers()
    torch.save({"model": meta_names(model), "optimizer": {}, "epoch": 3}, folder / "medsam_vit_b.pth")
    return Checkpoint(
        folder / "medsam_vit_b.pth",
        lambda path: SamEncoder(weights=path, size=SAM, input_size=64, normalization="medsam"),
        model.vision_encoder(picture(64)).last_hidden_state,
        lambda encoder: encoder.features(encoder.prepare(picture(64))),
        ("image_encoder.blocks.1.attn.rel_pos_h",),
    )


def clip(folder: Path) -> Checkpoint:
    vision = VISION | {"image_size": 28, "patch_size": 14}
    model = tiny._spread(CLIPModel(CLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=8)))
    model.save_pretrained(folder)
    return Checkpoint(
        folder,
        lambda path: ClipEncoder(weights=path),
        model.vision_model(normalised(picture(28), CLIP_MEAN, CLIP_STD)).last_hidden_state,
        lambda encoder: encoder(picture(28)),
        ("vision_model.encoder.layers.1.mlp.fc1.weight", "vision_model.embeddings.class_embedding"),
    )


def eva(folder: Path) -> Checkpoint:
    """The encoder of a whole BLIP-2 in shards; the branch owns the last norm."""
    model: Blip2ForConditionalGeneration = tiny.captioner_of_transformers()
    model.save_pretrained(folder, max_shard_size="20KB")
    norm = model.vision_model.post_layernorm
    return Checkpoint(
        folder,
        lambda path: EvaEncoder(weights=path),
        model.vision_model(normalised(picture(28), CLIP_MEAN, CLIP_STD)).last_hidden_state,
        lambda encoder: norm(encoder(picture(28))),
        ("vision_model.encoder.layers.0.self_attn.qkv.weight",),
    )


class Nothing(nn.Module):
    """An encoder that only says how wide its tokens are."""

    width, token_count = 8, 4


def bert(folder: Path) -> Checkpoint:
    """``bert-base-uncased``'s layout: ``bert.*`` beside the heads of pre-training."""
    config = BertConfig(**TEXT, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=20)
    model = tiny._spread(BertForPreTraining(config))
    model.save_pretrained(folder)
    qformer = {"width": 16, "layers": 2, "heads": 2, "intermediate": 32, "queries": 3, "max_positions": 20}

    def load(path: Path) -> PretrainingBranch:
        ours = QFormer(encoder_width=8, vocabulary=51, dropout=0.0, **qformer)
        branch = PretrainingBranch(branch=Branch(encoder=Nothing(), qformer=ours), decoder_token_id=50).eval()
        start_from_text_encoder([branch], str(path))
        return branch

    def words(ours: PretrainingBranch) -> Tensor:
        """What ITG's head says of the text's states; ``[DEC]``, which is ours, left out."""
        qformer = ours.branch.qformer
        hidden = qformer(texts=(IDS,), use_queries=False)
        return ours.generation.logits(hidden, qformer.word_embeddings.weight)[..., :-1]

    return Checkpoint(
        folder,
        load,
        model(IDS).prediction_logits,
        words,
        (
            "cls.predictions.transform.dense.weight",
            "bert.encoder.layer.1.attention.self.query.weight",
            "bert.embeddings.LayerNorm.bias",
        ),
    )


def language_model(model: nn.Module, folder: Path, shards: str, key: str) -> Checkpoint:
    tiny._spread(model).save_pretrained(folder, max_shard_size=shards)
    tiny.tokenizer().save_pretrained(folder)
    return Checkpoint(
        folder,
        lambda path: LanguageModel(name=str(path)),
        model(IDS).logits,
        lambda ours: ours.model(IDS).logits,
        (key,),
    )


def opt_sharded(folder: Path) -> Checkpoint:
    sizes = {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 32, "vocab_size": 60}
    model = OPTForCausalLM(OPTConfig(**sizes, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=32))
    checkpoint = language_model(model, folder, "5KB", "model.decoder.layers.1.self_attn.q_proj.weight")
    assert (folder / "model.safetensors.index.json").is_file()
    return checkpoint


def llama_single(folder: Path) -> Checkpoint:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "vocab_size": 60, "tie_word_embeddings": False}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=2, num_attention_heads=2))
    return language_model(model, folder, "5GB", "lm_head.weight")


FORMATS = {f.__name__: f for f in (sam_huggingface, sam_meta, medsam, clip, eva, bert, opt_sharded, llama_single)}


def remove(checkpoint: Checkpoint, key: str) -> None:
    """Take one key out of the file that holds it."""
    if checkpoint.path.is_file():
        content = torch.load(checkpoint.path, weights_only=True)
        del content.get("model", content)[key]
        torch.save(content, checkpoint.path)
        return
    for file in checkpoint.path.glob("*.safetensors"):
        state = load_file(file)
        if state.pop(key, None) is not None:
            save_file(state, file, metadata={"format": "pt"})
            break
    else:
        raise KeyError(key)
    index = checkpoint.path / "model.safetensors.index.json"
    if index.is_file():
        content = json.loads(index.read_text())
        del content["weight_map"][key]
        index.write_text(json.dumps(content))


@pytest.mark.parametrize("name", FORMATS)
def test_a_checkpoint_computes_as_its_source(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = FORMATS[name](tmp_path)
    loaded = checkpoint.load(checkpoint.path)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.actual(loaded), checkpoint.expected, atol=1e-5, rtol=1e-5)
    assert checkpoint.expected.std() > 0.05
    printed = capsys.readouterr().out
    assert f"weights from {checkpoint.path}" in printed.replace("text encoder '", "").replace("'", "")
    assert re.search(r"loaded +\d+ tensors", printed)


@pytest.mark.parametrize("name", FORMATS)
def test_a_checkpoint_that_lacks_a_key_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    checkpoint = FORMATS[name](tmp_path)
    for key in checkpoint.keys:
        remove(checkpoint, key)
        with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
            checkpoint.load(checkpoint.path)
        checkpoint = FORMATS[name](tmp_path)


def test_sam_in_shards_is_sam(tmp_path: Path) -> None:
    model = sam_of_transformers()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    encoder = SamEncoder(weights=tmp_path, size=SAM, input_size=64)
    with torch.no_grad():
        expected = model.vision_encoder(normalised(picture(64), SAM_MEAN, SAM_STD)).last_hidden_state
        torch.testing.assert_close(encoder.features(encoder.prepare(picture(64))), expected, atol=1e-5, rtol=1e-5)


def test_what_a_checkpoint_holds_beyond_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = sam_meta(tmp_path)
    checkpoint.load(checkpoint.path)
    printed = capsys.readouterr().out
    assert "in the file, not used" in printed and "prompt_encoder.pe_layer" in printed


def test_bert_and_sam_are_equally_refused_under_other_names(tmp_path: Path) -> None:
    """A bare ``BertModel`` has no prefix, a bare ``ImageEncoderViT`` neither."""
    config = BertConfig(**TEXT, max_position_embeddings=20)
    BertModel(config).save_pretrained(tmp_path / "bert")
    state = load_file(tmp_path / "bert" / "model.safetensors")
    del state["encoder.layer.0.output.dense.bias"]
    save_file(state, tmp_path / "bert" / "model.safetensors", metadata={"format": "pt"})
    qformer = QFormer(encoder_width=8, width=16, layers=2, heads=2, intermediate=32, vocabulary=51, max_positions=20)
    with pytest.raises(WeightsError, match=r"'encoder\.layer\.0\.output\.dense\.bias'"):
        start_from_text_encoder([Branch(encoder=Nothing(), qformer=qformer)], str(tmp_path / "bert"))
    bare = {key.removeprefix("image_encoder."): value for key, value in meta_names(sam_of_transformers()).items()}
    bare = {key: value for key, value in bare.items() if not key.startswith(("prompt_", "mask_"))}
    del bare["neck.2.weight"]
    torch.save(bare, tmp_path / "encoder.pth")
    with pytest.raises(WeightsError, match=r"'neck\.2\.weight'"):
        SamEncoder(weights=tmp_path / "encoder.pth", size=SAM, input_size=64)


def test_a_language_model_without_its_tokenizer_or_a_shard_is_refused(tmp_path: Path) -> None:
    checkpoint = opt_sharded(tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(WeightsError, match="no tokenizer"):
        checkpoint.load(tmp_path)
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    with pytest.raises(WeightsError, match="cannot be loaded as AutoModelForCausalLM"):
        checkpoint.load(tmp_path)


def test_the_text_encoders_tokenizer_gains_the_decoder_token(tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path)
    tokenizer = text_tokenizer(str(tmp_path))
    assert tokenizer.bos_token == "[DEC]" and tokenizer.bos_token_id == len(tokenizer) - 1
