"""Damaged weights are noticed: every flipped bit of what this project writes and ships."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from scripts.data.cache.shards import DamagedItemError, ShardStore, pack
from scripts.errors import InputError, WeightsError
from scripts.training.checkpoint_files import FORMAT, read_checkpoint
from scripts.weights.intact import SUMS, check_intact, damage, main, sealed_safetensors, write_sealed, write_sums
from scripts.weights.loading import load_parameters, read_state
from scripts.weights.saving import save_shards

FLIPS = [100, pytest.param(1000, marks=pytest.mark.slow)]


def _tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.randn(30, 20), "b.c": torch.arange(7), "half": torch.randn(50).half()}


def _flips(path: Path, count: int, noticed: Callable[[Path], bool]) -> list[int]:
    """Places of bits whose flip goes unnoticed. Each flip is a new file, since results are kept by path and time."""
    whole, chance = bytearray(path.read_bytes()), random.Random(count)
    whole[:] = path.read_bytes()
    missed = []
    for number in range(count):
        place = chance.randrange(8 * len(whole))
        whole[place // 8] ^= 1 << place % 8
        flipped = path.with_name(f"{number}_{path.name}")
        flipped.write_bytes(whole)
        whole[place // 8] ^= 1 << place % 8
        if not noticed(flipped):
            missed.append(place)
        flipped.unlink()
    return missed


def _refused(read: Callable[[Path], object]) -> Callable[[Path], bool]:
    def noticed(path: Path) -> bool:
        try:
            read(path)
        except (InputError, WeightsError) as error:
            return path.name in str(error)
        return False

    return noticed


@pytest.mark.parametrize("flips", FLIPS)
def test_each_flipped_bit_of_a_checkpoint_and_of_weights_is_noticed(tmp_path: Path, flips: int) -> None:
    state = {"format": FORMAT, "network": _tensors(), "optimizer": {"state": {}, "lr": 0.1}}
    checkpoint = write_sealed(tmp_path / "checkpoint_00000001.pt", state)
    assert _flips(checkpoint, flips, _refused(read_checkpoint)) == []
    [model] = save_shards(_tensors(), tmp_path / "model.pt")
    assert _flips(model, flips, _refused(read_state)) == []
    reader = tmp_path / "reader.safetensors"
    reader.write_bytes(sealed_safetensors(partial(save, _tensors()), {"about": "x"}))
    assert _flips(reader, flips, _refused(read_state)) == []
    for file in (checkpoint, model, reader):
        assert damage(file) is None


@pytest.mark.parametrize("flips", FLIPS)
def test_each_flipped_bit_of_a_cache_shard_is_noticed_where_it_is_read(tmp_path: Path, flips: int) -> None:
    items = [(f"key{n}", {"general": pack(torch.randn(4, 6), "float16")}) for n in range(3)]
    ShardStore(tmp_path / "whole").write(items)
    [shard], [index] = (list((tmp_path / "whole").glob(f"*.{kind}")) for kind in ("safetensors", "json"))
    first = {key: ShardStore(tmp_path / "whole").read(key) for key, _ in items}

    def noticed(path: Path) -> bool:
        folder = tmp_path / f"of_{path.name}"
        shutil.copytree(tmp_path / "whole", folder, ignore=lambda *_: [path.name])
        target = folder / (shard if path.name.endswith("safetensors") else index).name
        shutil.copy(path, target)
        store, found = ShardStore(folder), False
        for key, named in first.items():
            try:
                assert key not in store or torch.equal(store.read(key)["general"], named["general"])
                found |= key not in store
            except DamagedItemError:
                found = True
        shutil.rmtree(folder)
        return found

    assert _flips(shard, flips, noticed) == []
    assert _flips(index, flips, noticed) == []


def test_what_torch_and_safetensors_of_others_read_stays_readable(tmp_path: Path) -> None:
    tensors = _tensors()
    path = write_sealed(tmp_path / "model.pt", tensors)
    for options in ({}, {"mmap": True}):
        assert torch.equal(torch.load(path, weights_only=True, **options)["a"], tensors["a"])
    (tmp_path / "m.safetensors").write_bytes(sealed_safetensors(partial(save, tensors), {"about": "x"}))
    assert torch.equal(load_file(tmp_path / "m.safetensors")["b.c"], tensors["b.c"])
    torch.save(tensors, tmp_path / "theirs.pt")  # bears no seal, but a CRC-32 of each tensor
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # bears nothing
    for name in ("theirs.pt", "old.pth"):
        assert torch.equal(read_state(tmp_path / name)["a"], tensors["a"])


def test_a_tensor_of_another_program_s_file_that_was_damaged_is_named(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "theirs.pt")
    content = bytearray((tmp_path / "theirs.pt").read_bytes())
    content[content.index(torch.ones(4).numpy().tobytes()) + 40] ^= 1
    (tmp_path / "flipped.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"flipped\.pt is damaged .*data/0"):
        read_state(tmp_path / "flipped.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    network = torch.nn.Linear(2, 2)
    state = {"weight": torch.full((2, 2), value), "bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"some\.pt: 'weight' holds NaN or infinity"):
        load_parameters(network, state, source="some.pt")
    assert torch.isfinite(network.weight).all()


def test_shipped_files_are_those_that_the_list_names(
    bundle_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(bundle_root / "models")]) == 0
    listed = (bundle_root / "models" / SUMS).read_text().split()[1::2]
    weights = [file.name for file in (bundle_root / "models").iterdir() if file.suffix in (".pt", ".safetensors")]
    assert sorted(listed) == sorted(weights)
    torch.save(_tensors(), tmp_path / "model.pt")
    write_sums(tmp_path)
    check_intact(tmp_path / "model.pt")
    torch.save({"other": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=f"SHA-256 is not the one in {SUMS} beside it"):
        read_state(tmp_path / "model.pt")
    assert main([str(tmp_path)]) == 1 and main([str(tmp_path), "--write"]) == 0
    (tmp_path / SUMS).write_text("no list\n")
    assert main([str(tmp_path)]) == 1
    assert "fetch it again" in capsys.readouterr().err
