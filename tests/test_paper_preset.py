"""The paper preset from end to end, every model in its published layout but tiny: values alone differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from config_run import run_workflow
from monai.bundle import ConfigParser
from PIL import Image

from tiny_hub import write_hub

EVERYWHERE = {"device": "cpu", "workers": 0, "warmup_steps": 1, "float32_precision": "exact"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.manual_seed(0)
    return write_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Medical pairs, and general ones in a folder of their own."""
    folder = tmp_path_factory.mktemp("data")
    texts = {".": "CT of the chest image {} (1.5 cm).", "general": "a photo of a dog {}"}
    for number, (name, text) in enumerate(texts.items()):
        entries = []
        for index, word in enumerate(("one", "two", "three", "four")):
            pixels = np.random.default_rng(10 * number + index).integers(0, 255, (70, 60), dtype=np.uint8)
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
            entries.append({"image": f"{index}.png", "caption": text.format(word)})
        (folder / name / "datalist.json").write_text(json.dumps({"training": entries, "validation": entries[:2]}))
    return folder


def run(bundle_root: Path, data: Path, output: Path, names: list[str], values: dict[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(bundle_root / "configs" / name) for name in names])
    folders = {"bundle_root": str(bundle_root), "dataset_dir": str(data), "output_dir": str(output)}
    if names[0] != "inference.json":
        folders["feature_cache_dir"] = str(output.parent / "features")
    for key, value in (EVERYWHERE | folders | values).items():
        parser[key] = value
    parser.parse()
    run_workflow(parser)
    return parser


@pytest.fixture(scope="module")
def stage1(bundle_root: Path, data: Path, hub: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """General pairs first for the detail branch, medical pairs after, the general branch from released BLIP-2."""
    output = tmp_path_factory.mktemp("runs") / "pretrain"
    values = mixed(data, hub) | {"epochs": 1, "batch_size": 2}
    run(bundle_root, data, output, ["pretrain.json", "paper.json"], hub | values)
    return output


def mixed(data: Path, hub: dict[str, Any]) -> dict[str, Any]:
    released = str(Path(hub["text_encoder"]).parent / "blip2-itm")
    return {
        "general_start": released,
        "general_datalist": str(data / "general" / "datalist.json"),
        "itc_embedding": 16,
    }


def test_mixed_semantic_phases_are_one_config(
    bundle_root: Path, data: Path, hub: dict[str, Any], stage1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the general phase the general branch still has the released weights; the medical phase moves it."""
    from safetensors.torch import load_file

    released = load_file(Path(hub["text_encoder"]).parent / "blip2-itm" / "model.safetensors")["query_tokens"]
    only_general = hub | mixed(data, hub) | {"epochs": 0, "batch_size": 2}
    network = run(bundle_root, data, tmp_path / "general", ["pretrain.json", "paper.json"], only_general)
    printed = capsys.readouterr().out
    assert "phase 'general': 4 pairs, 2 passes, branches ['detail']" in printed and "medical" not in printed
    branches = network.get_parsed_content("network").branches
    torch.testing.assert_close(branches["general"].branch.qformer.query_tokens.detach(), released)
    assert branches["general"].branch.token_norm.weight.detach().std() > 0.01  # ln_vision came along
    both = torch.load(stage1 / "model.pt", weights_only=True)
    moved = both["branches.general.branch.qformer.query_tokens"].float() - released
    assert 1e-6 < moved.abs().max() < 1e-2
    assert not any(".encoder." in name for name in both)
    phases = network.get_parsed_content("phases")
    assert [phase["name"] for phase in phases] == ["general", "medical"]


@pytest.fixture(scope="module")
def stage2(bundle_root: Path, data: Path, hub: dict[str, Any], stage1: Path) -> Path:
    values = hub | {"pretrained": str(stage1 / "model.pt"), "epochs": 1, "batch_size": 2, "num_beams": 2}
    run(bundle_root, data, stage1.parent / "train", ["train.json", "paper.json"], values)
    return stage1.parent / "train"


def test_stage_2_goes_on_from_stage_1_and_writes_captions(
    bundle_root: Path, data: Path, hub: dict[str, Any], stage2: Path, tmp_path: Path
) -> None:
    trained = torch.load(stage2 / "model.pt", weights_only=True)
    assert {name.split(".")[0] for name in trained} - {"__shards__"} == {"branches", "projections"}
    values = hub | {"weights": str(stage2 / "model.pt"), "dataset_dir": str(data / "0.png"), "max_new_tokens": 20}
    parser = run(bundle_root, data, tmp_path, ["inference.json", "paper.json"], values)
    record = json.loads((tmp_path / "captions.jsonl").read_text().splitlines()[0])
    assert record["error"] is None and isinstance(record["caption"], str)
    network = parser.get_parsed_content("network")
    assert network.prompt.text.startswith("</s>Question:")
    assert network.language_model.eos_token_id == network.tokenizer("\n", add_special_tokens=False)["input_ids"][0]


def test_a_branch_of_stage_2_may_start_from_released_weights_too(
    bundle_root: Path, data: Path, hub: dict[str, Any], stage1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``general_start`` names BLIP-2, ``pretrained`` serves the detail branch."""
    released = str(Path(hub["text_encoder"]).parent / "blip2-itm")
    starts = {"pretrained": str(stage1 / "model.pt"), "general_start": released}
    values = hub | starts | {"epochs": 1, "batch_size": 2, "num_beams": 2, "learning_rate": 1e-9}
    run(bundle_root, data, tmp_path / "train", ["train.json", "paper.json"], values)
    saved = torch.load(tmp_path / "train" / "model.pt", weights_only=True)
    from safetensors.torch import load_file

    query = "qformer.query_tokens"
    source = load_file(Path(released) / "model.safetensors")
    torch.testing.assert_close(saved[f"branches.general.{query}"].float(), source["query_tokens"], atol=1e-3, rtol=1e-3)
    own = torch.load(stage1 / "model.pt", weights_only=True)
    torch.testing.assert_close(saved[f"branches.detail.{query}"], own[f"branches.detail.branch.{query}"])
    printed = capsys.readouterr().out
    assert "Hugging Face BLIP-2 stage 1, branch general" in printed and "weights from stage 1" in printed


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_clip_and_the_official_peculiarities_train_too(
    bundle_root: Path, data: Path, hub: dict[str, Any], tmp_path: Path, stage: str
) -> None:
    start = {"general_encoder_weights": str(Path(hub["text_encoder"]).parent / "clip"), "general_start": ""}
    start |= {"pretrained": "", "num_beams": 2} if stage == "train.json" else {"itc_embedding": 16}
    names = [stage, "paper.json", "paper_clip.json", "official_code.json"]
    values = hub | start | {"epochs": 1, "batch_size": 2, "feature_cache_dir": ""}
    parser = run(bundle_root, data, tmp_path / "run", names, values)
    network = parser.get_parsed_content("network")
    branch = getattr(network.branches["detail"], "branch", network.branches["detail"])
    assert branch.encoder.grid is None and branch.encoder.width == 16  # 4 x 4 positions of 256 channels
    ids = parser.get_parsed_content("train#dataset")[0]["input_ids"].tolist()
    text = parser.get_parsed_content("tokenizer").decode(ids, skip_special_tokens=True)
    assert "(" not in text and "ct of the chest" in text


def test_a_trained_general_branch_leaves_as_blip2(
    bundle_root: Path, data: Path, hub: dict[str, Any], stage2: Path, tmp_path: Path
) -> None:
    from transformers import Blip2ForConditionalGeneration

    values = hub | {"weights": str(stage2 / "model.pt")}
    names = ["inference.json", "paper.json", "export_blip2.json"]
    run(bundle_root, data, tmp_path / "blip2", names, values)
    model = Blip2ForConditionalGeneration.from_pretrained(tmp_path / "blip2")
    trained = torch.load(stage2 / "model.pt", weights_only=True)
    expected = trained["branches.general.qformer.query_tokens"].float()
    torch.testing.assert_close(model.query_tokens.detach().float(), expected, atol=1e-3, rtol=1e-3)
