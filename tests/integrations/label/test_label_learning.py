"""Fine-tuning on reviewed captions, batches, and images straight from a DICOMweb server, through the real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from label_server import LabelServer, label_server, missing_label_server
from orthanc import missing_orthanc, orthanc_server
from PIL import Image
from study_files import add_real_studies, body, write_series, write_studies

from scripts.predictor import CaptionPredictor

QUICK = {"num_beams": 1}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(missing_label_server() is not None, reason=str(missing_label_server())),
]


def save(server: LabelServer, image: str, caption: str) -> None:
    label = ("caption.json", json.dumps({"caption": caption}).encode())
    reply = server.ask("PUT", "/datastore/label", params={"image": image, "tag": "caption"}, files={"label": label})
    assert reply.status_code == 200, reply.text


def ten_pictures(folder: Path, shared: Path | None) -> list[str]:
    """Ten images: real ones where they are present, else slices of a made body."""
    if shared is not None:
        return add_real_studies(folder, shared)
    import numpy as np

    for k in range(10):
        grey = np.clip((body()[k] + 160) / 400 * 255, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"made_{k}.png")
    return [f"made_{k}" for k in range(10)]


def test_ten_edited_captions_make_a_new_version_that_answers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The tuned model says the reviewers' phrase about the very images they reviewed, which the bundle's never did."""
    try:
        shared = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        shared = None
    names = ten_pictures(write_studies(tmp_path / "studies"), shared)
    with label_server(tmp_path / "studies", tmp_path / "server") as server:
        before = {name: server.caption(name, save_label=True, **QUICK) for name in names}
        phrase = "Reviewed: no acute abnormality is seen."
        for name in names:
            assert phrase not in before[name]["caption"]
            save(server, name, phrase)
        started = server.ask("POST", "/train/caption", json={"epochs": 12, "learning_rate": 1e-3})
        assert started.status_code == 200, started.text
        state = server.wait_for("/train/")
        assert state["status"] == "DONE", state["details"]
        assert any(line.startswith("epoch 12/12, batch ") for line in state["details"])  # told while it ran
        report = server.ask("GET", "/info/").json()["train_stats"]["caption"]
        assert report["active"] == "0001" and report["training"] + report["validation"] == 10
        assert report["validation_loss"][-1] < report["validation_loss"][0]

        after = {name: server.caption(name, **QUICK) for name in names}
        assert {reply["model_version"].split("+")[1] for reply in after.values()} == {"reviewed.0001"}
        assert all(after[n]["weights"] != before[n]["weights"] for n in names)
        assert sum(phrase.rstrip(".") in reply["caption"] for reply in after.values()) >= 7

        back = server.ask("POST", "/train/caption?run_sync=true", json={"activate": "bundle"})
        assert back.json()["active"] == "bundle"
        again = server.caption(names[0], **QUICK)
        assert again["caption"] == before[names[0]]["caption"] and "+" not in again["model_version"]


def test_a_batch_drafts_what_is_not_reviewed_and_says_what_it_cannot(tmp_path: Path) -> None:
    with label_server(write_studies(tmp_path / "studies"), tmp_path / "server") as server:
        save(server, "ct_file", "A reviewed caption.")
        server.ask("POST", "/batch/infer/caption?images=all", json=QUICK)
        state = server.wait_for("/batch/infer/")
        assert state["status"] == "DONE", state["details"]
        result = json.loads(state["details"][-1].partition("Result: ")[2])
        assert "error" in result["letter"] and result["letter"]["error"].startswith("letter: is not a picture")
        assert 0 < result["picture"]["confidence"] <= 1
        objects = server.ask("GET", "/datastore/?output=all").json()["objects"]
        labels = {name: item["labels"].get("caption", {"info": {}}) for name, item in objects.items()}
        status = {name: label["info"].get("status") for name, label in labels.items()}
        assert status.pop("letter") is None and status.pop("ct_file") == "reviewed"
        assert set(status.values()) == {"draft"}
        first = server.ask("POST", "/activelearning/least_certain", json={}).json()
        assert first["confidence"] == min(entry["confidence"] for name, entry in result.items()
                                          if "confidence" in entry and name != "ct_file")  # fmt: skip


@pytest.mark.skipif(missing_orthanc() is not None, reason=str(missing_orthanc()))
def test_a_study_is_captioned_straight_from_orthanc(tmp_path: Path, predictor: CaptionPredictor) -> None:
    folder = write_series(tmp_path / "series", body())
    import pydicom

    uid = pydicom.dcmread(folder / "000.dcm", stop_before_pixels=True).SeriesInstanceUID
    environment = {"MONAI_LABEL_DICOMWEB_CACHE_PATH": str(tmp_path / "cache")}
    with orthanc_server(tmp_path) as orthanc:
        orthanc.store(sorted(folder.iterdir()))
        with label_server(orthanc.dicomweb, tmp_path / "server", environment=environment) as server:
            assert server.ask("GET", "/datastore/").json()["total"] == 1
            reply = server.caption(uid, slice=5, save_label=True, **QUICK)
            expected = predictor.caption(folder, slice=5, **QUICK)
            assert reply["caption"] == expected.text and reply["modality"] == "CT" and reply["slice"] == [5]
            assert server.ask("POST", "/activelearning/least_certain", json={}).json()["id"] == uid
            save(server, uid, "A reviewed caption of a series.")
            label = server.ask("GET", f"/datastore/label?label={uid}&tag=caption").json()
            assert label["status"] == "reviewed" and label["slice"] == 5 and label["draft"] == reply["caption"]
            assert server.ask("GET", "/datastore/").json()["completed"] == 1
            assert server.ask("POST", "/activelearning/least_certain", json={}).json() == {}
            missing = server.ask("POST", "/infer/caption?image=1.2.3.4")
            assert missing.status_code == 404 and "1.2.3.4" in missing.json()["detail"]
            assert server.ask("POST", "/infer/caption?image=../../etc").status_code == 404
            assert server.ask("PUT", "/datastore/image?image=x", files={"file": ("a.png", b"x")}).status_code == 400
