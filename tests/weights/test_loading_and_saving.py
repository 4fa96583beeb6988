"""Loading says what happened and refuses what is incomplete; saving splits, rounds and replaces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scripts.checkpoints.publish import main as publish
from scripts.errors import WeightsError
from scripts.weights.files import model_files
from scripts.weights.loading import load_parameters, read_state, shards_of, trained_names, weights_sha256
from scripts.weights.pretrained import load_pretrained
from scripts.weights.saving import save_shards, trained_state


class Half(nn.Module):
    """A frozen part and a trained part with a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.trained = nn.BatchNorm1d(4)
        self.extra = nn.Linear(4, 3)


def test_only_trained_parameters_and_their_buffers_are_saved(tmp_path: Path) -> None:
    network = Half()
    names = trained_names(network)
    assert {"trained.weight", "trained.running_mean", "extra.bias"} <= set(names)
    assert not [name for name in names if name.startswith("frozen")]
    save_shards(trained_state(network), tmp_path / "model.pt")
    assert set(read_state(tmp_path / "model.pt")) == set(names)


def test_round_trip_through_shards_in_half_precision(tmp_path: Path) -> None:
    state = {f"layer{i}": torch.randn(1000) for i in range(6)} | {"count": torch.tensor(7)}
    files = save_shards(state, tmp_path / "model.pt", max_bytes=4100)
    assert [file.name for file in files] == ["model.pt", "model_2.pt", "model_3.pt"]
    assert all(file.stat().st_size < 8000 for file in files)
    loaded = read_state(tmp_path / "model.pt")
    assert loaded["count"] == 7 and loaded["layer3"].dtype == torch.float16
    torch.testing.assert_close(loaded["layer3"].float(), state["layer3"], atol=1e-3, rtol=1e-3)
    assert set(weights_sha256(tmp_path / "model.pt")) == {"model.pt", "model_2.pt", "model_3.pt"}


def test_a_smaller_checkpoint_removes_stale_shards_and_a_lost_shard_is_noticed(tmp_path: Path) -> None:
    state = {f"layer{i}": torch.randn(1000) for i in range(6)}
    save_shards(state, tmp_path / "model.pt", max_bytes=4100)
    (tmp_path / "model_3.pt").unlink()
    with pytest.raises(WeightsError, match="3 files but 2"):
        read_state(tmp_path / "model.pt")
    save_shards(state, tmp_path / "model.pt")
    assert shards_of(tmp_path / "model.pt") == [tmp_path / "model.pt"]


def test_missing_unexpected_and_misshapen_names_are_refused_by_name() -> None:
    network = Half()
    state = trained_state(network)
    lacking = {name: value for name, value in state.items() if name != "extra.weight"}
    with pytest.raises(WeightsError, match=r"extra\.weight"):
        load_parameters(network, lacking, source="file")
    report = load_parameters(network, lacking, source="file", may_miss=("extra.*",))
    assert report.random == ["extra.weight"]
    with pytest.raises(WeightsError, match="stranger"):
        load_parameters(network, {**state, "stranger": torch.zeros(1)}, source="file")
    report = load_parameters(network, {**state, "stranger": torch.zeros(1)}, source="file", may_ignore=("str*",))
    assert report.unused == ["stranger"] and "not used" in report.table()
    with pytest.raises(WeightsError, match=r"\(2, 4\)"):
        load_parameters(network, {**state, "extra.weight": torch.zeros(2, 4)}, source="file")


def test_values_really_arrive() -> None:
    source, target = Half(), Half()
    source.trained.running_mean.fill_(3.0)
    halves = {name: v.half() if v.is_floating_point() else v for name, v in trained_state(source).items()}
    report = load_parameters(target, halves, source="file")
    assert torch.equal(target.trained.running_mean, source.trained.running_mean)
    torch.testing.assert_close(target.extra.weight, source.extra.weight, atol=1e-3, rtol=1e-3)
    assert report.parameters == sum(value.numel() for value in trained_state(source).values())


def test_damaged_and_absent_files_say_so(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match=r"model\.pt cannot be read"):
        read_state(tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="does not exist"):
        read_state(tmp_path / "other.pt")


class RunsCode:
    """A pickle that touches a file when it is opened carelessly."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)


def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "config": RunsCode(tmp_path / "ran")}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=r"model\.pth holds Python objects besides tensors"):
        read_state(tmp_path / "model.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [[torch.zeros(2)], torch.zeros(2), {}, {"model": {}}, {3: torch.zeros(2)}, {"epoch": 5}]
)
def test_a_file_without_tensors_by_name_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"model\.pt (is no state dict|holds no tensor)"):
        read_state(tmp_path / "model.pt")


def test_what_a_training_state_holds_besides_is_left_out(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(2), "version": 3}, "epoch": 5}, tmp_path / "model.pt")
    assert set(read_state(tmp_path / "model.pt")) == {"weight"}
    torch.save({"weight": torch.ones(2), "__shards__": torch.zeros(5)}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="copy them all"):
        read_state(tmp_path / "model.pt")


@pytest.mark.parametrize("cut", [0, 9, -5])
def test_truncated_safetensors_say_so(tmp_path: Path, cut: int) -> None:
    save_file({"weight": torch.ones(8)}, tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:cut])
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read"):
        read_state(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"w": "../outside.safetensors"}}',
        '{"weight_map": {"w": 3}}',
    ],
)
def test_a_damaged_or_straying_index_is_refused(tmp_path: Path, index: str) -> None:
    save_file({"w": torch.ones(8)}, tmp_path / "outside.safetensors")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(WeightsError, match=r"index\.json is damaged"):
        model_files(tmp_path / "model")


def test_damaged_model_folders_say_so_in_one_sentence(tmp_path: Path) -> None:
    """Whatever ``transformers`` raises on them; a pickle that holds code does not run."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = BertConfig(vocab_size=20, **sizes)
    config.save_pretrained(tmp_path)
    torch.save({"embeddings.word_embeddings.weight": RunsCode(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be loaded as BertModel"):
        load_pretrained(BertModel, str(tmp_path))
    assert not (tmp_path / "ran").exists()
    for name, content in (("model.safetensors", "x"), ("model.safetensors.index.json", "{}"), ("config.json", "[]")):
        for old in (*tmp_path.glob("*.bin"), *tmp_path.glob("model.*")):
            old.unlink()
        (tmp_path / name).write_text(content)
        with pytest.raises(WeightsError, match="cannot be loaded as BertModel"):
            load_pretrained(BertModel, str(tmp_path))


def test_publishing_an_encoder_that_was_not_tuned_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"branches.general.branch.qformer.query_tokens": torch.zeros(1)}, tmp_path / "model.pt")
    assert publish(["encoder", str(tmp_path / "model.pt"), "general", str(tmp_path / "out.pt")]) == 1
    assert "no tuned general encoder" in capsys.readouterr().err
    state = {"branches.general.branch.encoder.stem.weight": torch.ones(2)}
    torch.save(state, tmp_path / "tuned.pt")
    assert publish(["encoder", str(tmp_path / "tuned.pt"), "general", str(tmp_path / "out.pt")]) == 0
    assert read_state(tmp_path / "out.pt")["stem.weight"].tolist() == [1.0, 1.0]
