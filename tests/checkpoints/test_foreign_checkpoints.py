"""Each foreign layout: a tiny checkpoint with its real keys loads, computes as its source, and may lack no key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tiny_blip2 as tiny
from scripts.checkpoints.blip2 import export_blip2
from scripts.checkpoints.start import start_branch, start_branches
from scripts.errors import WeightsError
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.qformer import QFormer

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
IDS = torch.tensor([[1, 9, 8, 7, 6], [1, 20, 21, 22, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def image() -> Tensor:
    return torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(4))


def lavis_name(name: str) -> str:
    """A transformers name as LAVIS writes it: the published conversion backwards, by hand, apart from product code."""
    name = re.sub(r"^qformer\.encoder\.", "Qformer.bert.encoder.", name)
    name = re.sub(r"(attention)\.attention\.(query|key|value)", r"\1.self.\2", name)
    name = name.replace("qformer.layernorm.", "Qformer.bert.embeddings.LayerNorm.")
    name = re.sub(r"^embeddings\.", "Qformer.bert.embeddings.", name)
    name = name.replace("vision_model.post_layernorm.", "ln_vision.")
    name = name.replace("language_projection.", "opt_proj.")
    return name.replace("vision_projection.", "vision_proj.").replace("text_projection.", "text_proj.")


def as_lavis(state: dict[str, Tensor], *, qformer: str = "Qformer") -> dict[str, Tensor]:
    """Trained parameters under LAVIS names, as its runner saves them (frozen encoder and language model left out)."""
    kept = {key: value for key, value in state.items() if not key.startswith(("vision_model.e", "language_model."))}
    return {lavis_name(key).replace("Qformer", qformer): value.clone() for key, value in kept.items()}


def stage1_lavis(matcher: nn.Module) -> dict[str, Tensor]:
    """What LAVIS adds to the retrieval model: word head, temperature, and a buffer of positions."""
    state = as_lavis(matcher.state_dict())
    words = state["Qformer.bert.embeddings.word_embeddings.weight"]
    return state | {
        "temp": torch.tensor(0.05),
        "Qformer.bert.embeddings.position_ids": torch.arange(20)[None],
        "Qformer.cls.predictions.bias": torch.randn(tiny.TEXT_VOCABULARY),
        "Qformer.cls.predictions.transform.dense.weight": torch.randn(32, 32),
        "Qformer.cls.predictions.transform.dense.bias": torch.randn(32),
        "Qformer.cls.predictions.transform.LayerNorm.weight": torch.rand(32) + 0.5,
        "Qformer.cls.predictions.transform.LayerNorm.bias": torch.randn(32),
        "Qformer.cls.predictions.decoder.weight": words,
        "Qformer.cls.predictions.decoder.bias": torch.zeros(tiny.TEXT_VOCABULARY),
    }


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    folder = tmp_path_factory.mktemp("captioner")
    model = tiny.captioner_of_transformers()
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    folder = tmp_path_factory.mktemp("matcher")
    model = tiny.matcher_of_transformers()
    model.save_pretrained(folder)
    return model, folder


def assert_same_captioner(theirs: nn.Module, ours: CaptionNetwork) -> None:
    pixels = ours.branches["general"].encoder.prepare(image())
    with torch.no_grad():
        expected = theirs.get_image_features(pixels).pooler_output
        torch.testing.assert_close(ours.image_prefix(ours.encode(image())), expected, **TOLERANCE)


def assert_same_matcher(theirs: nn.Module, ours: nn.Module) -> None:
    """Contrast and matching scores of transformers' retrieval model."""
    module = ours.branches["general"]
    pixels = module.branch.encoder.prepare(image())
    with torch.no_grad():
        memory = module.branch.project(module.branch.encode(image())[0])
        contrast = module.contrast.similarity(module.embed_images(memory), module.embed_texts(IDS, MASK))
        matching = module.matching.logits(module.match(memory, IDS, MASK))
        inputs = {"pixel_values": pixels, "input_ids": IDS, "attention_mask": MASK}
        expected = theirs(**inputs).logits_per_image
        pairs = theirs(**inputs, use_image_text_matching_head=True).logits_per_image
    torch.testing.assert_close(contrast, expected, **TOLERANCE)
    torch.testing.assert_close(matching, pairs, **TOLERANCE)


@pytest.mark.parametrize("shard_size", ["5GB", "20KB"])
def test_huggingface_stage_2(captioner: tuple[nn.Module, Path], tmp_path: Path, shard_size: str) -> None:
    theirs, folder = captioner
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").is_file() == (shard_size == "20KB")
    ours = tiny.captioner(theirs, folder)
    report = start_branch(ours, "general", tmp_path)
    assert_same_captioner(theirs, ours)
    assert not report.random and not report.unexpected


def test_a_missing_shard_is_named(captioner: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = captioner
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    victim = sorted(tmp_path.glob("model-*.safetensors"))[1]
    victim.unlink()
    with pytest.raises(WeightsError, match=victim.name):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path)


def test_huggingface_stage_1(matcher: tuple[nn.Module, Path]) -> None:
    theirs, folder = matcher
    ours = tiny.pretraining(folder)
    report = start_branch(ours, "general", folder)
    assert_same_matcher(theirs, ours)
    left = {name.split(".", 2)[2] for name in report.random}
    assert left == {"contrast.temperature"} | {f"generation.{n}" for n in (
        "bias", "transform.weight", "transform.bias", "norm.weight", "norm.bias")}  # fmt: skip


def test_lavis_stage_1_into_both_stages(matcher: tuple[nn.Module, Path], captioner: tuple, tmp_path: Path) -> None:
    theirs, folder = matcher
    state = stage1_lavis(theirs)
    torch.save({"model": state, "epoch": 9}, tmp_path / "blip2_pretrained.pth")
    ours = tiny.pretraining(folder)
    report = start_branch(ours, "general", tmp_path / "blip2_pretrained.pth")
    assert_same_matcher(theirs, ours)
    assert not report.random and not report.unexpected
    module = ours.branches["general"]
    assert module.contrast.temperature.item() == pytest.approx(0.05)
    hidden = torch.randn(3, 32)
    prefix = "Qformer.cls.predictions."
    head = torch.nn.functional.gelu(
        hidden @ state[prefix + "transform.dense.weight"].T + state[prefix + "transform.dense.bias"]
    )
    norm = (state[prefix + "transform.LayerNorm.weight"], state[prefix + "transform.LayerNorm.bias"])
    head = torch.nn.functional.layer_norm(head, (32,), *norm, eps=1e-12)
    expected = head @ state[prefix + "decoder.weight"].T + state[prefix + "bias"]
    actual = module.generation.logits(hidden, module.branch.qformer.word_embeddings.weight)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-5)
    stage2 = tiny.captioner(captioner[0], folder)
    report = start_branch(stage2, "general", tmp_path / "blip2_pretrained.pth")
    assert {name.split(".")[0] for name in report.random} == {"projections"}
    memory = module.branch.project(module.branch.encode(image())[0])
    branch = stage2.branches["general"]
    torch.testing.assert_close(branch(branch.encode(image())[0]), module.branch.qformer(memory), **TOLERANCE)


def test_lavis_stage_2(captioner: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = captioner
    torch.save({"model": as_lavis(theirs.state_dict())}, tmp_path / "blip2_opt.pth")
    ours = tiny.captioner(theirs, folder)
    report = start_branch(ours, "general", tmp_path / "blip2_opt.pth")
    assert_same_captioner(theirs, ours)
    assert not report.random and not report.unexpected


class SamChannels(nn.Module):
    """SAM's map as the official code reads it: 8 channels as tokens of 9 positions."""

    width, token_count = 9, 8

    def forward(self, values: Tensor) -> Tensor:
        return values[:, :, :3, :8].reshape(-1, 8, 9)


def two_branches(model: nn.Module, folder: Path, *, norm: bool = False) -> CaptionNetwork:
    from scripts.encoders.eva import EvaEncoder

    qformer = QFormer(encoder_width=9, text=False, dropout=0.0, **tiny.QFORMER)
    detail = Branch(encoder=SamChannels(), qformer=qformer, normalize_tokens=norm)
    return CaptionNetwork(
        branches={"general": tiny.general_branch(EvaEncoder(weights=folder)), "detail": detail},
        language_model=LanguageModel(model=model.language_model, tokenizer=tiny.tokenizer()),
    ).eval()


def official(theirs: nn.Module, sam: nn.Module) -> dict[str, Tensor]:
    """A merged stage-2 checkpoint of the official code: LAVIS names, and ``sam_*`` for the second Q-Former."""
    second = {
        re.sub("^(query_tokens|opt_proj)", r"sam_\1", key): value
        for key, value in as_lavis(sam.state_dict(), qformer="sam_Qformer").items()
        if not key.startswith("ln_vision")
    }
    return as_lavis(theirs.state_dict()) | second


@pytest.fixture(scope="module")
def sam_half() -> nn.Module:
    """transformers' Q-Former and projection of the detail branch, over tokens 9 wide."""
    settings = tiny.config()
    settings.vision_config.hidden_size = settings.qformer_config.encoder_hidden_size = 9
    from transformers import Blip2QFormerModel

    half = nn.Module()
    half.query_tokens = nn.Parameter(torch.zeros(1, tiny.QUERIES, 32))
    half.qformer = Blip2QFormerModel(settings.qformer_config)
    half.language_projection = nn.Linear(32, 32)
    return tiny._spread(half)


def test_official_msmedcap(captioner: tuple[nn.Module, Path], sam_half: nn.Module, tmp_path: Path) -> None:
    theirs, folder = captioner
    file = tmp_path / "checkpoint_4.pth"
    torch.save({"model": official(theirs, sam_half), "optimizer": {}, "epoch": 4}, file)
    ours = two_branches(theirs, folder)
    start_branches(ours, general=file, detail=file)
    with torch.no_grad():
        encoded = ours.encode(image())
        prefix = ours.image_prefix(encoded)
        pixels = ours.branches["general"].encoder.prepare(image())
        general = theirs.get_image_features(pixels).pooler_output
        queries = sam_half.query_tokens.expand(2, -1, -1)
        states = sam_half.qformer(query_embeds=queries, encoder_hidden_states=encoded["detail"][0])
        detail = sam_half.language_projection(states.last_hidden_state)
    torch.testing.assert_close(prefix, torch.cat([general, detail], dim=1), **TOLERANCE)
    with pytest.raises(WeightsError, match="token_norm"):
        start_branch(two_branches(theirs, folder, norm=True), "detail", file)


@pytest.mark.parametrize(
    "key",
    [
        "Qformer.bert.encoder.layer.2.crossattention.self.key.weight",
        "ln_vision.bias",
        "opt_proj.weight",
        "query_tokens",
        "sam_Qformer.bert.encoder.layer.3.output_query.dense.bias",
        "sam_query_tokens",
        "sam_opt_proj.bias",
    ],
)
def test_a_missing_key_of_lavis_and_msmedcap_is_named(
    captioner: tuple[nn.Module, Path], sam_half: nn.Module, tmp_path: Path, key: str
) -> None:
    theirs, folder = captioner
    state = official(theirs, sam_half)
    del state[key]
    torch.save({"model": state}, tmp_path / "damaged.pth")
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branches(two_branches(theirs, folder), general=tmp_path / "damaged.pth", detail=tmp_path / "damaged.pth")


@pytest.mark.parametrize("key", ["temp", "itm_head.bias", "Qformer.bert.encoder.layer.1.intermediate.dense.weight"])
def test_a_missing_key_of_lavis_stage_1_is_named(matcher: tuple[nn.Module, Path], tmp_path: Path, key: str) -> None:
    state = stage1_lavis(matcher[0])
    del state[key]
    torch.save({"model": state}, tmp_path / "damaged.pth")
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branch(tiny.pretraining(matcher[1]), "general", tmp_path / "damaged.pth")


@pytest.mark.parametrize("key", ["qformer.layernorm.bias", "language_projection.weight", "query_tokens"])
def test_a_missing_key_of_huggingface_is_named(captioner: tuple[nn.Module, Path], tmp_path: Path, key: str) -> None:
    from safetensors.torch import load_file, save_file

    theirs, folder = captioner
    state = load_file(folder / "model.safetensors")
    del state[key]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path)


@pytest.mark.parametrize("key", ["itm_head.weight", "embeddings.word_embeddings.weight", "text_projection.bias"])
def test_a_missing_key_of_huggingface_stage_1_is_named(
    matcher: tuple[nn.Module, Path], tmp_path: Path, key: str
) -> None:
    from safetensors.torch import load_file, save_file

    _, folder = matcher
    state = load_file(folder / "model.safetensors")
    del state[key]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branch(tiny.pretraining(folder), "general", tmp_path)


@pytest.mark.parametrize("key", ["Qformer.bert.encoder.layer.2.output_query.dense.bias", "opt_proj.bias"])
def test_a_missing_key_of_lavis_stage_2_is_named(captioner: tuple[nn.Module, Path], tmp_path: Path, key: str) -> None:
    theirs, folder = captioner
    state = as_lavis(theirs.state_dict())
    del state[key]
    torch.save({"model": state}, tmp_path / "damaged.pth")
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path / "damaged.pth")


def test_unexpected_and_unfitting_content(captioner: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = captioner
    state = as_lavis(theirs.state_dict())
    torch.save({"model": state | {"surprise.weight": torch.zeros(1)}}, tmp_path / "more.pth")
    report = start_branch(tiny.captioner(theirs, folder), "general", tmp_path / "more.pth")
    assert report.unexpected == ["surprise.weight"] and "unexpected in the file" in report.table()
    deeper = {key.replace("layer.3.", "layer.4."): value for key, value in state.items() if "layer.3." in key}
    torch.save({"model": state | deeper}, tmp_path / "deeper.pth")
    with pytest.raises(WeightsError, match=r"layer\.4\..*no place"):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path / "deeper.pth")
    torch.save({"model": {"backbone.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no general branch"):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="nowhere"):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path / "nowhere")


def test_other_attention_heads_are_refused(captioner: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = captioner
    theirs.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["qformer_config"]["num_attention_heads"] = 8
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="8 attention heads"):
        start_branch(tiny.captioner(theirs, folder), "general", tmp_path)


def test_export_is_a_blip2_that_transformers_reads(captioner: tuple[nn.Module, Path], tmp_path: Path) -> None:
    from transformers import Blip2ForConditionalGeneration

    theirs, folder = captioner
    ours = tiny.captioner(theirs, folder)
    start_branch(ours, "general", folder)
    with torch.no_grad():
        for parameter in ours.branches["general"].qformer.parameters():
            parameter += 0.05 * torch.randn_like(parameter)  # as if trained on
    export_blip2(ours, tmp_path)
    again = Blip2ForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert_same_captioner(again, ours)
    placeholder = again.config.image_token_index
    ids = torch.tensor([[placeholder] * tiny.QUERIES + [7, 8]] * 2)
    pixels = ours.branches["general"].encoder.prepare(image())
    with torch.no_grad():
        logits = again(pixel_values=pixels, input_ids=ids).logits[:, -1, : tiny.VOCABULARY]
        prefix, _ = ours.prefix(ours.encode(image()), ours.prompts_of("w7 w8", 2))
        expected = ours.language_model.model(inputs_embeds=prefix).logits[:, -1]
    torch.testing.assert_close(logits, expected, **TOLERANCE)
    back = tiny.captioner(theirs, folder)
    start_branch(back, "general", tmp_path)
    for name, value in ours.branches["general"].state_dict().items():
        torch.testing.assert_close(back.branches["general"].state_dict()[name], value)


def test_export_refuses_what_blip2_has_not(captioner: tuple[nn.Module, Path], tmp_path: Path) -> None:
    from scripts.encoders.eva import EvaEncoder

    theirs, folder = captioner
    branch = tiny.general_branch(EvaEncoder(weights=folder), positions=True)
    model = LanguageModel(model=theirs.language_model, tokenizer=tiny.tokenizer())
    with pytest.raises(WeightsError, match="token_positions"):
        export_blip2(CaptionNetwork(branches={"general": branch}, language_model=model), tmp_path)
