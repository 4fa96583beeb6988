"""Caches and captions on two local Ray workers, and on two in this process: what is done is not done again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from config_run import BUNDLE, make_data, run_config, settings_of

from scripts.commands import archive
from scripts.data import FeatureCache
from scripts.errors import InputError

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[None]:
    """Two Ray workers on this machine, once for all tests."""
    ray = pytest.importorskip("ray", reason='Ray Data is an optional package: pip install "ray[data]==2.60.0"')
    pytest.importorskip("ray.data", reason="Ray Data needs pyarrow and pandas")
    os.environ.update({"RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"})  # a busy machine
    environment = {**archive._environment(), "OMP_NUM_THREADS": "1"}
    options = {"log_to_driver": False, "include_dashboard": False, "object_store_memory": 150 * 2**20}
    ray.init(num_cpus=2, runtime_env={"env_vars": environment}, **options)
    yield
    ray.shutdown()


def map_here(items: Any, worker: type, arguments: tuple[Any, ...], *, workers: int, batch: int, on_gpu: bool) -> Any:
    """What Ray does with a pool of actors, one after the other."""
    actors = [worker(*arguments) for _ in range(workers)]
    texts = [json.dumps(item) for item in items]
    batches = [texts[start : start + batch // 2] for start in range(0, len(texts), batch // 2)]
    results = [actors[number % workers]({"item": part}) for number, part in enumerate(batches)]
    return [{key: value[0] for key, value in result.items()} for result in results]


@pytest.fixture(params=["here", pytest.param("ray", marks=pytest.mark.slow)])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_workers")
    else:
        monkeypatch.setattr(archive, "_map", map_here)
    return request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("archive"))


def test_features_built_by_workers_are_those_that_training_reads(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    values = settings_of(["train.json"], data, tmp_path / "out", feature_cache_dir=str(tmp_path / "features"))
    del values["history#every"]
    files = [str(BUNDLE / "configs" / "train.json")]
    broken = data / "3.png"
    content = broken.read_bytes()
    broken.write_bytes(b"not a picture")
    try:
        first = archive.build_features(files, workers=2, values=values)
    finally:
        broken.write_bytes(content)
    assert first["encoded"] == 11 and [Path(name).name for name, _ in first["failed"]] == ["3.png"]
    second = archive.build_features(files, workers=2, values=values)
    assert (second["cached"], second["encoded"], second["failed"]) == (11, 1, [])  # only what was missing
    monkeypatch.setattr(FeatureCache, "_encode", None)  # training computes nothing any more
    parser = run_config(["train.json"], data, tmp_path / "run", epochs=1, feature_cache_dir=str(tmp_path / "features"))
    assert parser.get_parsed_content("train#trainer").state.iteration == 4


def test_an_archive_is_captioned_once_whatever_interrupts(data: Path, tmp_path: Path, pool: str) -> None:
    run_config(["train.json"], data, tmp_path / "run", epochs=1, sample_captions=0)
    source = tmp_path / "images"
    source.mkdir()
    for number in range(6):
        (source / f"{number}.png").write_bytes((data / f"{number}.png").read_bytes())
    (source / "6.png").write_bytes(b"not a picture")
    small = settings_of(["train.json"], data, tmp_path)
    shared = ("device", "image_size", "queries", "general_encoder#_target_", "detail_encoder#_target_")
    shared += ("language_model#_target_", "max_new_tokens", *(key for key in small if key.startswith("qformer")))
    values = {key: small[key] for key in shared} | {"weights": str(tmp_path / "run" / "model.pt"), "concept_reader": ""}
    places = {"output_dir": tmp_path / "out", "bundle_root": BUNDLE}
    first = archive.caption_archive(source, workers=2, values=values, **places)
    assert first == {"total": 7, "captioned_now": 7, "failed": 1}
    lines = [json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text().splitlines()]
    assert [Path(line["image"]).name for line in lines] == [f"{number}.png" for number in range(7)]
    assert all(line["caption"] for line in lines[:6]) and "6.png" in lines[6]["error"]
    # a killed run: one worker's file is gone, another ends in the middle of a line
    parts = sorted((tmp_path / "out" / "parts").glob("*.jsonl"))
    text = "".join(part.read_text() for part in parts)
    for part in parts:
        part.unlink()
    kept = text.splitlines(keepends=True)
    parts[0].write_text("".join(kept[:3]) + kept[3][:20])
    (tmp_path / "out" / "captions.jsonl").unlink()
    second = archive.caption_archive(source, workers=2, values=values, **places)
    assert second == {"total": 7, "captioned_now": 4, "failed": 1}
    again = [json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text().splitlines()]
    assert [line["caption"] for line in again] == [line["caption"] for line in lines]
    third = archive.caption_archive(source, workers=2, values=values, **places)
    assert third == {"total": 7, "captioned_now": 1, "failed": 1}  # what failed is tried once more in each run
    (source / "6.png").write_bytes((data / "6.png").read_bytes())
    assert archive.caption_archive(source, workers=2, values=values, **places)["failed"] == 0
    last = json.loads((tmp_path / "out" / "captions.jsonl").read_text().splitlines()[-1])
    assert last["caption"] and not last["error"]
    assert archive.caption_archive(source, workers=2, values=values, **places)["captioned_now"] == 0
    # captions that something else would make do not mix with these
    explicit = {**values, "num_beams": 5, "workers": 1}  # the config's own
    assert archive.caption_archive(source, workers=2, values=explicit, **places)["captioned_now"] == 0
    with pytest.raises(InputError, match="num_beams 5, now 1; give another output_dir"):
        archive.caption_archive(source, workers=2, values={**values, "num_beams": 1}, **places)
    state = torch.load(values["weights"], weights_only=True)
    torch.save({**state, "note": "trained again"}, values["weights"])
    with pytest.raises(InputError, match=r"weights model\.pt; give another output_dir"):
        archive.caption_archive(source, workers=2, values=values, **places)


def test_an_image_that_a_share_does_not_give_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    class Predictor:
        def caption(self, image: str) -> Any:
            raise OSError(5, "Input/output error", image)

    worker = archive.CaptionWorker.__new__(archive.CaptionWorker)
    worker.predictor, worker.file = Predictor(), tmp_path / "part.jsonl"  # type: ignore[assignment]
    assert worker({"item": [json.dumps({"image": "a.png"})]}) == {"captioned": [1], "failed": [1]}
    (record,) = archive._finished(tmp_path).values()
    assert "Input/output error" in record["error"]


def test_a_caption_counts_before_an_error_and_a_later_error_before_an_earlier_one(tmp_path: Path) -> None:
    def write(name: str, **errors: str | None) -> None:
        lines = [json.dumps({"image": image, "error": error}) + "\n" for image, error in errors.items()]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))

    write("1", a="old", b=None)
    write("2", a="new", b="gone")
    assert [record["error"] for record in archive._finished(tmp_path).values()] == ["new", None]
