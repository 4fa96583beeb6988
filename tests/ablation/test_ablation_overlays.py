"""Every ablation and preset overlay: a handful of lines, and a run that trains."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from config_run import make_data, run_config
from monai.bundle import ConfigParser

WITHOUT = ("no_pretraining.json", "random_start.json")  # stage 2 without stage 1
OVERLAYS = ("branch_general.json", "branch_detail.json", "sam_channel.json", *WITHOUT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight made images with captions, four of them to train on."""
    return make_data(tmp_path_factory.mktemp("ablations"), count=4)


def read(bundle_root: Path, *names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(bundle_root / "configs" / name) for name in names])
    return parser


def run(folder: Path, output: str, *names: str, **changes: Any) -> ConfigParser:
    """Train ``names`` on the made images; encoder tokens come from one cache that all runs share."""
    return run_config(list(names), folder, folder / output, **changes)


@pytest.fixture(scope="module")
def stage1(folder: Path) -> dict[str, Path]:
    """Stage-1 checkpoints of both layouts, their queries moved by one."""
    run(folder, "stage1", "pretrain.json")
    run(folder, "stage1_channel", "pretrain.json", "sam_channel.json")
    files = {"": folder / "stage1" / "model.pt", "sam_channel.json": folder / "stage1_channel" / "model.pt"}
    for file in files.values():  # values that no random start has
        state = torch.load(file, weights_only=True)
        torch.save({k: v + 1 if k.endswith("query_tokens") else v for k, v in state.items()}, file)
    return files


def finite(network: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


@pytest.mark.parametrize("overlay", ["", "branch_general.json", "branch_detail.json", "sam_channel.json"])
def test_stage_1_trains(folder: Path, overlay: str) -> None:
    names = [name for name in ("pretrain.json", overlay) if name]
    parser = run(folder, f"pretrain_{overlay}", *names)
    network = parser.get_parsed_content("network")
    wanted = {"branch_general.json": {"general"}, "branch_detail.json": {"detail"}}.get(overlay, {"general", "detail"})
    assert set(network.branches) == wanted and finite(network)
    assert (folder / f"pretrain_{overlay}" / "model.pt").is_file()
    if overlay == "sam_channel.json":
        assert network.branches["detail"].branch.encoder.grid is None


@pytest.mark.parametrize("overlay", ["", *OVERLAYS])
def test_stage_2_trains(folder: Path, stage1: dict[str, Path], overlay: str) -> None:
    names = [name for name in ("train.json", overlay) if name]
    start = {} if overlay in WITHOUT else {"pretrained": str(stage1.get(overlay, stage1[""]))}
    parser = run(folder, f"train_{overlay}", *names, **start)
    network = parser.get_parsed_content("network")
    trainer = parser.get_parsed_content("train#trainer")
    assert trainer.state.iteration == 4 and math.isfinite(float(trainer.state.output["loss"]))
    assert finite(network)
    before = torch.load(stage1.get(overlay, stage1[""]), weights_only=True)
    name = "query_tokens"
    for branch in network.branches:
        trained = network.branches[branch].qformer.get_parameter(name)
        started = before[f"branches.{branch}.branch.qformer.{name}"].float()
        near = (trained.detach() - started).abs().max() < 0.05  # four steps of at most 0.01
        assert bool(near) is (overlay not in WITHOUT), branch


@pytest.mark.parametrize(("stage", "rank"), [("pretrain.json", 0), ("train.json", 2)])
def test_unfrozen_blocks_and_adapters_train_save_and_load(
    folder: Path, stage1: dict[str, Path], stage: str, rank: int
) -> None:
    from scripts.checkpoints.stages import load_trained

    changes: dict[str, Any] = {"feature_cache_dir": "", "general_trainable_blocks": 1, "detail_trainable_blocks": 1}
    if rank:
        changes |= {"lora_rank": rank, "pretrained": str(stage1[""])}
    output = f"tuned_{stage}"
    network = run(folder, output, stage, **changes).get_parsed_content("network")
    saved = torch.load(folder / output / "model.pt", weights_only=True)
    for kind in ("general", "detail"):
        assert any(f"branches.{kind}" in name and ".encoder." in name for name in saved), kind
    assert any("lora_" in name for name in saved) is bool(rank)
    trained = {name: value.clone() for name, value in network.state_dict().items() if name in saved}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in saved:
                parameter.zero_()
    load_trained(network, folder / output / "model.pt")
    for name, value in network.state_dict().items():
        if name in trained and value.is_floating_point():
            torch.testing.assert_close(value, trained[name], atol=2e-3, rtol=2e-3, msg=name)  # stored in half


@pytest.mark.parametrize("overlay", [*OVERLAYS, "paper_clip.json"])
def test_an_ablation_is_a_handful_of_lines(bundle_root: Path, overlay: str) -> None:
    """Same data, seeds, optimizer and schedule: an overlay touches its own subject only."""
    changed = json.loads((bundle_root / "configs" / overlay).read_text())
    subjects = {"branches", "cached_encoders", "sam_layout", "sam_pool", "pretrained", "general_start", "detail_start"}
    subjects |= {
        "general_phase_branches",
        "general_encoder_weights",
        "general_encoder#_target_",
        "concept_reader",
        "qformer_start",
    }
    values = {key for key in changed if not key.startswith("_desc_")}
    assert values <= subjects and len(values) <= 4


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json", "inference.json"])
def test_the_paper_preset_serves_every_stage(bundle_root: Path, stage: str) -> None:
    parser = read(bundle_root, stage, "paper.json")
    parser["general_datalist"] = "coco.json"
    parser.parse()
    value = parser.get_parsed_content
    assert (value("qformer_width"), value("qformer_layers"), value("queries")) == (768, 12, 32)
    assert value("detail_encoder_weights") == "facebook/sam-vit-base" and value("sam_pool") == 4
    expected = {
        "pretrain.json": {"batch_size": 16, "warmup_steps": 5000, "general_start": "Salesforce/blip2-itm-vit-g"},
        "train.json": {"batch_size": 8, "warmup_steps": 2000, "general_start": "", "prompt": "</s>"},
        "inference.json": {"batch_size": 1, "prompt": "</s>Question: Describe the image. Answer:"},
    }[stage]
    assert {key: value(key) for key in expected} == expected
    if stage == "pretrain.json":
        phases = [(phase["name"], phase["epochs"], phase.get("branches")) for phase in value("phases")]
        assert phases == [("general", 2, ["detail"]), ("medical", 3, None)]
    else:
        options = value("generation")
        assert (options.num_beams, options.min_new_tokens, options.max_new_tokens) == (15, 10, 50)
        assert (options.repetition_penalty, options.length_penalty) == (9.0, 1.2)


def test_one_value_switches_the_paper_preset_to_channels_or_another_sam(bundle_root: Path) -> None:
    parser = read(bundle_root, "train.json", "paper.json")
    parser["sam_layout"], parser["sam_size"] = "channel", "huge"
    parser.parse()
    assert parser.get_parsed_content("sam_pool") == 1
    assert parser.get_parsed_content("detail_encoder_weights") == "facebook/sam-vit-huge"


def test_the_official_code_flips_and_cleans(bundle_root: Path) -> None:
    parser = read(bundle_root, "pretrain.json", "paper.json", "official_code.json")
    parser["tokenizer"] = {"_target_": "ablation_parts.bert_tokenizer"}
    parser.parse()
    assert parser.get_parsed_content("sam_pool") == 1 and parser.get_parsed_content("caption_style") == "paper"
    text = parser.get_parsed_content("text_transforms")
    lengths = [len(text.tokenize("word " * words)) for words in (49, 50, 60)]
    assert lengths[0] < lengths[1] == lengths[2]
    flip = parser.get_parsed_content("train#preprocessing").transforms[-1]
    image = torch.arange(6.0).reshape(1, 2, 3).expand(3, -1, -1)
    flip.set_random_state(0)
    seen = {tuple(flip({"image": image})["image"][0, 0].tolist()) for _ in range(20)}
    assert seen == {(0.0, 1.0, 2.0), (2.0, 1.0, 0.0)}  # columns, never rows


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_cross_attention_starts_wide_but_in_the_paper(bundle_root: Path, stage: str) -> None:
    for names, wide in (([], True), (["paper.json"], False), (["paper.json", "official_code.json"], False)):
        parser = read(bundle_root, stage, *names)
        parser.parse()
        for branch in ("general", "detail"):
            assert parser.get_parsed_content(f"{branch}_qformer#wide_cross_attention") is wide


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_captions_are_kept_whole_but_by_the_official_code(bundle_root: Path, stage: str) -> None:
    for names, words in (([], 0), (["paper.json"], 0), (["paper.json", "official_code.json"], 50)):
        parser = read(bundle_root, stage, *names)
        parser.parse()
        assert parser.get_parsed_content("text_transforms#max_words") == words
