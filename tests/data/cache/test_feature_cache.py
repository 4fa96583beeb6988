"""Feature cache: equal to computing, never stale, survives kills and damage, refuses what cannot work."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cache_cases import ReadPicture, TinyEncoder, build_slowly, make_pictures, two_encoders

from child_process import Child
from scripts.data import CacheOptions, FeatureCache, caption_dataset, collate_cases
from scripts.errors import InputError


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    (tmp_path / "pictures").mkdir()
    return make_pictures(tmp_path / "pictures", 7)


def _cache(folder: Path, **options: Any) -> FeatureCache:
    transform = options.pop("transform", ReadPicture())
    return FeatureCache(_options(folder, **options), transform)


def _options(folder: Path, **options: Any) -> CacheOptions:
    return CacheOptions(folder, **{"encoders": two_encoders(), "progress": False, **options})


def _expected(item: dict[str, Any], name: str = "general") -> torch.Tensor:
    image = ReadPicture()(item)["image"]
    image = image if image.ndim == 4 else image[None]
    return two_encoders()[name](image).flatten(0, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 1e-3), ("int8", 1.5e-2)])
@pytest.mark.parametrize("workers", [0, 2])
def test_tokens_equal_those_computed_now(
    tmp_path: Path, items: list[dict[str, Any]], dtype: str, tolerance: float, workers: int
) -> None:
    cache = _cache(tmp_path / "cache", dtype=dtype, batch_size=3, workers=workers)
    report = cache.build(items)
    assert (report.total, report.cached, report.encoded, report.failed) == (7, 0, 7, [])
    for item in items:
        tokens = cache.tokens(item)
        for name in ("general", "detail"):
            expected = _expected(item, name)
            assert tokens[f"{name}_tokens"].dtype == torch.float32
            error = (tokens[f"{name}_tokens"] - expected).norm() / expected.norm()
            assert error <= (tolerance or 1e-6)
    # the second build finds everything and runs no encoder
    again = _cache(tmp_path / "cache", dtype=dtype)
    report = again.build(items)
    assert (report.cached, report.encoded) == (7, 0)
    assert again.encoders["general"].calls == 0


def test_views_lie_one_after_another_and_collate_with_a_mask(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    cases = [{"image": [items[0]["image"], items[1]["image"]]}, {"image": items[2]["image"]}]
    cache = _cache(tmp_path / "cache", dtype="float32")
    cache.build(cases)
    pair = cache.tokens(cases[0])["general_tokens"]
    assert torch.equal(pair, _expected(cases[0]))
    assert pair.shape == (8, 6)
    dataset = caption_dataset(cases, image_transform=ReadPicture(), cache=_options(tmp_path / "b"))
    batch = collate_cases([dataset[0], dataset[1]])
    assert batch["general_tokens"].shape == (2, 8, 6)
    assert batch["general_tokens_mask"].sum(dim=1).tolist() == [8, 4]
    assert batch["image_path"] == [cases[0]["image"], cases[1]["image"]]
    assert "image" not in batch


def test_any_change_that_matters_is_a_miss(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    _cache(tmp_path / "cache").build(items)
    assert _cache(tmp_path / "cache").missing(items) == 0
    other = two_encoders()
    other["detail"] = TinyEncoder(4, seed=3)
    changed = {
        "encoder weights": {"encoders": other},
        "one branch only": {"encoders": {"general": TinyEncoder(6, seed=1)}},
        "transform setting": {"transform": ReadPicture(gain=0.5)},
        "stored dtype": {"dtype": "int8"},
        "compute dtype": {"compute_dtype": "bfloat16"},
    }
    for name, options in changed.items():
        assert _cache(tmp_path / "cache", **options).missing(items) == len(items), name
    assert _cache(tmp_path / "cache", compute_dtype="float32").missing(items) == 0
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert _cache(tmp_path / "cache").missing(items) == len(items)
    finally:
        torch.set_float32_matmul_precision(before)
    assert _cache(tmp_path / "cache").missing([{**items[0], "window": "lung"}]) == 1
    assert _cache(tmp_path / "cache").missing([{**items[0], "caption": "corrected"}]) == 0
    status = os.stat(items[0]["image"])
    os.utime(items[0]["image"], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert _cache(tmp_path / "cache").missing(items) == 1


def test_a_moved_data_set_keeps_its_cache(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    old = tmp_path / "pictures"
    _cache(tmp_path / "cache", root=old).build(items)
    shutil.copytree(old, tmp_path / "new")  # copy2 keeps times
    moved = [{**item, "image": item["image"].replace("pictures", "new")} for item in items]
    assert _cache(tmp_path / "cache", root=tmp_path / "new").missing(moved) == 0
    Path(moved[0]["image"]).write_bytes(Path(moved[1]["image"]).read_bytes())
    assert _cache(tmp_path / "cache", root=tmp_path / "new").missing(moved) == 1


@pytest.mark.parametrize("place", ["tokens", "header", "index"])
def test_one_flipped_byte_is_detected_and_repaired(
    tmp_path: Path, items: list[dict[str, Any]], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    _cache(tmp_path / "cache").build(items)
    (shard,) = (tmp_path / "cache").glob("*/*.safetensors")
    file = shard.with_suffix(".json") if place == "index" else shard
    content = bytearray(file.read_bytes())
    content[{"tokens": len(content) - 5, "header": 3, "index": 30}[place]] ^= 1
    file.write_bytes(content)
    cache = _cache(tmp_path / "cache")
    if place == "index":  # its items count as missing
        assert cache.build(items).encoded == 7
    else:
        with caplog.at_level(logging.WARNING):
            damaged = cache.verify(items)
        assert damaged == (1 if place == "tokens" else 7)
        assert "checksum" in caplog.text or "cannot be opened" in caplog.text
    for item in items:
        assert (cache.tokens(item)["detail_tokens"] - _expected(item, "detail")).abs().max() < 5e-3
    assert _cache(tmp_path / "cache").verify(items) == 0


def test_reading_a_damaged_item_repairs_it(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    _cache(tmp_path / "cache").build(items)
    (shard,) = (tmp_path / "cache").glob("*/*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-40])  # cut short
    cache = _cache(tmp_path / "cache")
    expected = _expected(items[3])
    assert (cache.tokens(items[3])["general_tokens"] - expected).abs().max() < 5e-3
    assert cache.encoders["general"].calls == 1
    cache.tokens(items[3])
    assert cache.encoders["general"].calls == 1  # now from disk


def _read_as_worker(cache: FeatureCache, items: list[dict[str, Any]]) -> None:
    """In a process of its own: read as a worker of a run whose encoders are on a GPU, where it cannot encode."""
    torch.utils.data.get_worker_info = lambda: "a worker"  # type: ignore[assignment]
    on_gpu = SimpleNamespace(device=torch.device("cuda"))
    TinyEncoder.parameters = lambda _: iter([on_gpu])  # type: ignore[assignment,method-assign]
    for item in items:
        cache.tokens(item)


@pytest.mark.parametrize("place", ["tokens", "header"])
@pytest.mark.parametrize("repair", ["the next run", "the same cache", "verify"])
def test_damage_that_a_worker_of_a_gpu_run_finds_is_repaired_by_the_next_build(
    tmp_path: Path, items: list[dict[str, Any]], place: str, repair: str
) -> None:
    cache = _cache(tmp_path / "cache")
    cache.build(items)
    (shard,) = cache.folder.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    for byte in (-5, -200) if place == "tokens" else (3,):  # two items, or all
        content[byte] ^= 1
    shard.write_bytes(content)
    worker = Child(tmp_path, _read_as_worker, cache, items)
    assert worker.end() == 1 and "damaged; start again" in worker.log.read_text()
    assert len(list(cache.folder.glob("*.damaged"))) == 1
    cache = cache if repair == "the same cache" else _cache(tmp_path / "cache")
    count = 2 if place == "tokens" else len(items)
    if repair == "verify":
        assert cache.verify([*items, *items], repair=False) == count
        assert _cache(tmp_path / "cache").missing(items) == count  # a build would make them
        assert cache.verify(items) == count
    else:
        assert cache.build(items).encoded == count
    assert not list(cache.folder.glob("*.damaged"))
    again = _cache(tmp_path / "cache")
    assert Child(tmp_path, _read_as_worker, again, items).end() == 0
    for item in items:
        assert (again.tokens(item)["general_tokens"] - _expected(item)).abs().max() < 5e-3
    assert again.encoders["general"].calls == 0


def test_a_mark_of_damage_is_ignored_once_another_process_has_repaired_it(
    tmp_path: Path, items: list[dict[str, Any]]
) -> None:
    first = _cache(tmp_path / "cache")
    first.build(items)
    key = first._key(items[0], 0)
    late = _cache(tmp_path / "cache")
    first.store.forget(key)
    assert first.build(items).encoded == 1
    late.store.forget(key)  # it saw the damage before the repair and says so after it
    assert late.build(items).encoded == 0
    assert _cache(tmp_path / "cache").missing(items) == 0


def test_tuning_one_encoder_leaves_the_tokens_of_the_others(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    folder = tmp_path / "cache"
    first = caption_dataset(items, image_transform=ReadPicture(), cache=_options(folder))
    tuned = {**two_encoders(), "general": TinyEncoder(6, seed=9)}
    second = caption_dataset(items, image_transform=ReadPicture(), cache=_options(folder, encoders=tuned))
    assert (tuned["general"].calls, tuned["detail"].calls) == (len(items), 0)
    assert torch.equal(first[0]["detail_tokens"], second[0]["detail_tokens"])
    assert not torch.equal(first[0]["general_tokens"], second[0]["general_tokens"])
    alone = {"detail": two_encoders()["detail"]}
    third = caption_dataset(items, image_transform=ReadPicture(), cache=_options(folder, encoders=alone))
    assert set(third[0]) >= {"detail_tokens"}
    assert alone["detail"].calls == 0


def test_unreadable_images_are_named_after_the_others_are_done(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    Path(items[2]["image"]).write_bytes(b"not a picture")
    items[4] = {"image": str(tmp_path / "gone.png")}
    cache = _cache(tmp_path / "cache")
    with pytest.raises(InputError, match=r"2 images could not be encoded .*002\.png") as refusal:
        cache.build(items)
    assert "gone.png" in str(refusal.value)
    tolerant = _options(tmp_path / "cache", skip_failed=True)
    report = FeatureCache(tolerant, ReadPicture()).build(items)
    assert (report.cached, report.encoded, len(report.failed)) == (5, 0, 2)
    dataset = caption_dataset(items, image_transform=ReadPicture(), cache=tolerant)
    assert [Path(item["image"]).name for item in dataset.data] == [
        "000.png",
        "001.png",
        "003.png",
        "005.png",
        "006.png",
    ]


def test_tokens_that_do_not_fit_the_stored_type_are_refused(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    loud = {"general": TinyEncoder(6, scale=1e5)}
    with pytest.raises(InputError, match="not finite in float16"):
        _cache(tmp_path / "cache", encoders=loud).build(items)
    assert _cache(tmp_path / "cache", encoders=loud, dtype="int8").build(items).encoded == 7


def test_unusable_options_are_refused(tmp_path: Path) -> None:
    for options in ({"dtype": "int4"}, {"compute_dtype": "half"}, {"augmented_views": -1}, {"encoders": {}}):
        with pytest.raises(InputError):
            _cache(tmp_path / "cache", **options)


def test_encoders_run_in_the_precision_asked_for(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    cache = _cache(tmp_path / "cache", compute_dtype="bfloat16", dtype="float32")
    cache.build(items[:1])
    tokens, expected = cache.tokens(items[0])["general_tokens"], _expected(items[0])
    assert torch.equal(tokens, tokens.bfloat16().float())
    assert 1e-5 < (tokens - expected).norm() / expected.norm() < 1e-2


def test_encoders_move_to_the_device_for_what_is_missing_and_back(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    cache = _cache(tmp_path / "cache", device="cpu:0")
    moves: list[str] = []
    for encoder in cache.encoders.values():
        encoder.to = lambda device: moves.append(str(device))  # type: ignore[method-assign]
    cache.build(items)
    assert moves == ["cpu:0", "cpu:0", "cpu", "cpu"]
    cache.build(items)
    assert "cpu:0" not in moves[4:]  # nothing to encode: they stay at home


def test_size_is_reported_first_and_a_small_disk_refused(
    tmp_path: Path, items: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = _cache(tmp_path / "cache")
    assert cache.estimate_bytes(items) == 7 * 4 * (6 + 4) * 2
    with caplog.at_level(logging.INFO):
        cache.build(items[:1])
    assert "1 of 1 to encode, about 80 B" in caplog.text
    stored = torch.tensor(0)
    stored = sum(t.numel() * 2 for t in cache.tokens(items[0]).values())
    assert stored == cache.estimate_bytes(items[:1])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    with pytest.raises(InputError, match="needs about 480 B, but .* has 1000 B free"):
        cache.build(items)
    assert cache.encoders["general"].calls == 1  # refused before any work
    assert cache.build(items[:1]).cached == 1  # nothing to write, nothing to refuse


def test_two_processes_build_disjoint_parts(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    first, second = _cache(tmp_path / "cache"), _cache(tmp_path / "cache")
    assert first.build(items, part=(0, 2)).encoded == 4
    assert second.build(items, part=(1, 2)).encoded == 3  # opened before the first wrote
    assert first.missing(items) == 3
    first.store.reload()
    assert first.missing(items) == 0
    assert second.verify(items) == 0


def test_augmented_views_are_random_but_reproducible(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    from monai.transforms import Compose, RandFlipd

    def chain() -> Compose:
        return Compose([ReadPicture(), RandFlipd("image", prob=0.5, spatial_axis=1)])

    cache = _cache(tmp_path / "a", transform=chain(), augmented_views=24, dtype="float32")
    assert cache.build(items).encoded == 7 * 24
    views = torch.stack([cache.tokens(items[0], view=view)["general_tokens"] for view in range(24)])
    # flipped and not; draws depend on the path, but 24 alike do not happen
    assert len({view.numpy().tobytes() for view in views}) == 2
    again = _cache(tmp_path / "b", transform=chain(), augmented_views=24, dtype="float32", workers=2)
    again.build(items)
    for view in range(24):
        assert torch.equal(again.tokens(items[0], view=view)["general_tokens"], views[view])
    for plain in (ReadPicture(), Compose([ReadPicture()])):
        with pytest.raises(InputError, match="nothing random in it"):
            _cache(tmp_path / "c", transform=plain, augmented_views=2)


def test_the_dataset_draws_by_epoch_and_case_whatever_the_worker(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    from monai.transforms import Compose, RandGaussianNoised

    dataset = caption_dataset(items, image_transform=Compose([ReadPicture(), RandGaussianNoised("image", prob=1.0)]))
    first = [dataset[index]["image"].clone() for index in range(7)]
    backwards = [dataset[index]["image"].clone() for index in reversed(range(7))]
    assert all(torch.equal(a, b) for a, b in zip(first, reversed(backwards), strict=True))
    loader = torch.utils.data.DataLoader(dataset, batch_size=7, num_workers=2, collate_fn=collate_cases)
    assert torch.equal(next(iter(loader))["image"], torch.stack(first))
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0]["image"], first[0])


def test_folder_says_what_it_was_made_with(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    cache = _cache(tmp_path / "cache")
    (about,) = (tmp_path / "cache").glob("*.about.json")
    assert json.loads(about.read_text())["encoders"]["general"] == cache.encoders["general"].fingerprint()


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_killed_build_goes_on_and_ends_with_the_same_tokens(tmp_path: Path, kills: int) -> None:
    (tmp_path / "pictures").mkdir()
    items = make_pictures(tmp_path / "pictures", 16 * kills)
    chance, counts = random.Random(kills), []
    for _ in range(kills):
        before = _shards(tmp_path)
        child = Child(tmp_path, build_slowly, tmp_path / "cache", items, 0.01)
        while _shards(tmp_path) == before and child.running():
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.02))
        assert child.end(signal.SIGKILL) == -signal.SIGKILL  # it was still at work
        counts.append(_shards(tmp_path))
    assert len(set(counts)) == kills
    child = Child(tmp_path, build_slowly, tmp_path / "cache", items, 0.0)
    assert child.end() == 0, child.log.read_text()
    resumed = _cache(tmp_path / "cache")
    assert resumed.missing(items) == 0
    left = [file.name for file in resumed.folder.iterdir() if file.suffix == ".tmp"]
    assert not left and len(list(resumed.folder.glob("*.safetensors"))) == _shards(tmp_path)  # swept
    assert resumed.verify(items) == 0
    whole = _cache(tmp_path / "whole")
    whole.build(items)
    for item in items:
        for name, tokens in whole.tokens(item).items():
            assert torch.equal(tokens, resumed.tokens(item)[name])


def _shards(folder: Path) -> int:
    return len(list(folder.glob("cache/*/*.json")))
