"""One network at a time, of the active version, whatever threads ask: with a stand-in for the network."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from label_server import missing_label_server

if missing_label_server() is not None:
    pytest.skip(str(missing_label_server()), allow_module_level=True)

import lib.model as model  # noqa: E402
from lib.versions import Versions  # noqa: E402

from scripts.errors import WeightsError  # noqa: E402


class Network:
    """Counts how many of its kind are loaded and at work."""

    built: list[str] = []
    at_work = 0
    lock = threading.Lock()

    def __init__(self, weights: str) -> None:
        with Network.lock:
            assert Network.at_work == 0, "a network was replaced under a request"
            Network.built.append(weights)
        self.weights = weights

    def caption(self, image: str, **options: object) -> SimpleNamespace:
        with Network.lock:
            Network.at_work += 1
        time.sleep(0.005)
        with Network.lock:
            Network.at_work -= 1
        record = {"image": image, "caption": f"{image} by {self.weights}", "model_version": "1"}
        case = SimpleNamespace(explanation=None)
        return SimpleNamespace(text=record["caption"], record=record, seconds={}, case=case)


@pytest.fixture
def active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> model.ActiveModel:
    Network.built, Network.at_work = [], 0
    build = SimpleNamespace(
        from_bundle=lambda bundle, weights="bundle", **_: Network(Path(weights).parent.name or weights)
    )
    monkeypatch.setattr(model, "CaptionPredictor", build)
    return model.ActiveModel(tmp_path, Versions(tmp_path / "versions"))


def test_eight_threads_get_their_own_answers_over_a_change_of_version(active: model.ActiveModel) -> None:
    folder = active.versions.new_folder()
    (folder / "model.pt").write_bytes(b"x")
    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(active.caption, f"a{i}", {}) for i in range(40)]
        [reply.result() for reply in first[:10]]
        active.versions.activate("0001")
        second = [pool.submit(active.caption, f"b{i}", {}) for i in range(40)]
        replies = {f"a{i}": r.result() for i, r in enumerate(first)} | {
            f"b{i}": r.result() for i, r in enumerate(second)
        }
    for image, reply in replies.items():
        name, _, weights = reply["caption"].partition(" by ")
        assert name == image
        assert reply["model_version"] == ("1" if weights == "bundle" else "1+reviewed.0001")
    assert all(reply["caption"].endswith("0001") for image, reply in replies.items() if image.startswith("b"))
    assert Network.built == ["bundle", "0001"]  # each loaded once


def test_a_version_that_cannot_be_loaded_is_tried_again(
    active: model.ActiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise WeightsError("the checkpoint does not fit")

    good = model.CaptionPredictor
    monkeypatch.setattr(model, "CaptionPredictor", SimpleNamespace(from_bundle=broken))
    with pytest.raises(WeightsError):
        active.caption("a", {})
    monkeypatch.setattr(model, "CaptionPredictor", good)
    assert active.caption("a", {})["caption"] == "a by bundle"
