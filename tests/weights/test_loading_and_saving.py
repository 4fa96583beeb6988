"""Loading says what happened and refuses what is incomplete; saving splits, rounds and replaces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.errors import WeightsError
from scripts.weights.loading import load_parameters, read_state, shards_of, trained_names, weights_sha256
from scripts.weights.publish import main as publish
from scripts.weights.saving import save_shards, save_trained, trained_state


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
    save_trained(network, tmp_path / "model.pt")
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
    report = load_parameters(target, trained_state(source, torch.float16), source="file")
    assert torch.equal(target.trained.running_mean, source.trained.running_mean)
    torch.testing.assert_close(target.extra.weight, source.extra.weight, atol=1e-3, rtol=1e-3)
    assert report.parameters == sum(value.numel() for value in trained_state(source).values())


def test_damaged_and_absent_files_say_so(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match=r"model\.pt cannot be read"):
        read_state(tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="does not exist"):
        read_state(tmp_path / "other.pt")


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
