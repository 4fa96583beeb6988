"""The real server over HTTP: its captions are the predictor's, its store keeps what people write."""

from __future__ import annotations

import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from label_server import LabelServer
from monailabel.client.client import MONAILabelClient, MONAILabelClientException

from scripts.explanation.words import content_words
from scripts.predictor import CaptionPredictor
from scripts.reading import read_case

QUICK = {"num_beams": 1, "max_new_tokens": 12}
# image id, path below the studies, options
KINDS = [
    ("picture", "picture.png", {}),
    ("ct_file", "ct_file.dcm", {"window": "lung"}),
    ("patient/ct_series", "patient/ct_series", {"slice": 2, "window": "40/400"}),
    ("volume", "volume.nii.gz", {"slice": 0.3, "plane": "coronal"}),
    ("real_series", "real_series", {"slice": 0.4}),
    ("brain", "brain.nii.gz", {"slice": 80, "plane": "sagittal"}),
]


def same(reply: dict, expected: object) -> None:
    """The server's caption is the predictor's own; confidences agree to 1e-4 (the same network in another process)."""
    assert reply["caption"] == expected.text
    assert reply["confidence"] == pytest.approx(expected.confidence, abs=1e-4)


def test_the_task_is_listed(server: LabelServer, tmp_path: Path) -> None:
    info = MONAILabelClient(server.url, str(tmp_path)).info()
    task = info["models"]["caption"]
    assert task["type"] == "others" and task["output"] == "text"
    assert {"window", "slice", "plane", "prompt", "num_beams", "explain"} <= set(task["config"])
    assert "caption" in info["trainers"] and "least_certain" in info["strategies"]
    images = server.ask("GET", "/datastore/?output=all").json()["objects"]
    assert {"picture", "ct_file", "mr_file", "volume", "patient/ct_series"} <= set(images)


@pytest.mark.parametrize(("name", "path", "options"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_kind_of_image_gets_the_predictors_caption(
    server: LabelServer, studies: Path, predictor: CaptionPredictor, name: str, path: str, options: dict
) -> None:
    if not (studies / path).exists():
        pytest.skip("real test images are not on this machine")
    reply = server.caption(name, **options, **QUICK)
    expected = predictor.caption(studies / path, **options, **QUICK)
    same(reply, expected)
    assert reply["slice"] == expected.record["slice"]
    assert len(reply["weights"]) >= 4 and reply["model_version"] == expected.record["model_version"]


@pytest.mark.parametrize("explain", ["gradient", pytest.param(True, marks=pytest.mark.slow)])  # True: by occlusion
def test_prompt_beams_and_explanation_reach_the_network(
    server: LabelServer, predictor: CaptionPredictor, studies: Path, explain: str | bool
):
    options = {"prompt": "Coronal MRI of", "num_beams": 2, "max_new_tokens": 10, "explain": explain}
    reply = server.caption("picture", **options)
    same(reply, predictor.caption(studies / "picture.png", **{**options, "explain": False}))
    words, maps = reply["explanation"]["words"], reply["explanation"]["maps"]
    assert reply["prompt"] == options["prompt"]  # given, so nothing to explain
    assert ["Coronal", "MRI", "of", *" ".join(words).split()] == reply["caption"].split()
    visible = content_words(words)
    assert visible
    for branch in maps.values():
        assert [place for place, one in enumerate(branch) if one is not None] == visible
        assert sum(map(sum, branch[visible[0]])) == pytest.approx(1, abs=1e-2)  # rounded to 6 decimals each
    assert sum(share[0] for share in reply["explanation"]["share"].values()) == pytest.approx(1, abs=1e-3)


def test_a_session_of_dicom_files_is_one_series(
    server: LabelServer, predictor: CaptionPredictor, studies: Path
) -> None:
    folder = studies / "patient" / "ct_series"
    files = [("files", (path.name, path.read_bytes())) for path in sorted(folder.iterdir())]
    session = server.ask("PUT", "/session/", files=files).json()["session_id"]
    kept = list((server.log.parent / "sessions").rglob("*.dcm"))
    assert kept
    for path in (kept[0], kept[0].parent):  # whoever guesses where another's upload lies gets nothing of it
        for more in ({}, params('{"was_sent": true}')):
            assert server.ask("POST", INFER + str(path), **more).status_code == 404
    same(server.caption(session=session, slice=3, **QUICK), predictor.caption(folder, slice=3, **QUICK))
    assert server.ask("DELETE", f"/session/{session}").status_code == 200
    gone = server.ask("POST", f"/infer/caption?session_id={session}")
    assert gone.status_code == 404 and "session" in gone.json()["detail"]


def test_an_uploaded_file_is_captioned_and_not_kept(server: LabelServer, predictor: CaptionPredictor, studies: Path):
    before = server.ask("GET", "/datastore/").json()["total"]
    same(server.caption(file=studies / "mr_file.dcm", **QUICK), predictor.caption(studies / "mr_file.dcm", **QUICK))
    assert server.ask("GET", "/datastore/").json()["total"] == before


def test_the_stock_client_captions_saves_and_reads_back(server: LabelServer, tmp_path: Path) -> None:
    client = MONAILabelClient(server.url, str(tmp_path))
    _, reply = client.infer("caption", "mr_file", {**QUICK, "save_label": True, "label_tag": "caption"})
    reply = json.loads(reply)  # the client hands JSON replies on as bytes
    stored = json.loads(Path(client.download_label("mr_file", "caption")).read_text())
    assert stored["status"] == "draft" and stored["caption"] == reply["caption"]

    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps({"caption": "Axial T1 MRI of the head, été 2026."}), encoding="utf-8")
    client.save_label("mr_file", str(edited), "caption", {"reviewer": "r1"})
    stored = json.loads(Path(client.download_label("mr_file", "caption")).read_text(encoding="utf-8"))
    assert stored["status"] == "reviewed" and stored["caption"] == "Axial T1 MRI of the head, été 2026."
    assert stored["draft"] == reply["caption"] and stored["options"]["num_beams"] == 1

    client.infer("caption", "mr_file", {**QUICK, "save_label": True, "label_tag": "caption"})  # a new draft
    stored = json.loads(Path(client.download_label("mr_file", "caption")).read_text(encoding="utf-8"))
    assert stored["caption"] == "Axial T1 MRI of the head, été 2026."
    info = server.ask("GET", "/datastore/label/info", params={"label": "mr_file", "tag": "caption"}).json()
    assert info["status"] == "reviewed" and info["reviewer"] == "r1"
    with pytest.raises(MONAILabelClientException, match="404"):
        client.infer("caption", "nowhere", {})


def test_the_least_certain_image_comes_first(server: LabelServer) -> None:
    drafts = {}
    for name in ("picture", "ct_file", "volume"):
        drafts[name] = server.caption(name, save_label=True, **QUICK)["confidence"]
    offered = [server.ask("POST", "/activelearning/least_certain", json={}).json() for _ in range(3)]
    assert [item["id"] for item in offered] == sorted(drafts, key=drafts.get)
    assert offered[0]["confidence"] == min(drafts.values())
    assert "mr_file" not in [item["id"] for item in offered]  # its caption is reviewed


def test_eight_requests_at_once_are_answered_right(
    server: LabelServer, studies: Path, predictor: CaptionPredictor
) -> None:
    names = {"picture": "picture.png", "ct_file": "ct_file.dcm", "volume": "volume.nii.gz", "mr_file": "mr_file.dcm"}
    expected = {name: predictor.caption(studies / path, **QUICK) for name, path in names.items()}
    with ThreadPoolExecutor(9) as pool:
        asked = [(name, pool.submit(server.caption, name, **QUICK)) for name in [*names, *names]]
        status = pool.submit(server.ask, "GET", "/datastore/")
        for name, reply in asked:
            same(reply.result(), expected[name])
        assert status.result().status_code == 200
    assert len({expected[name].text for name in names}) > 1


INFER, LABEL = "/infer/caption?image=", "/datastore/label?tag=caption&image="


def params(text: str) -> dict:
    return {"files": {"params": (None, text)}}


def label(text: str) -> dict:
    return {"files": {"label": ("a.json", text.encode())}}


def image(name: str) -> dict:
    return {"files": {"file": (name, b"hello")}}


BAD = {
    "unknown image": ("POST", INFER + "nowhere", {}, 404, "nowhere"),
    "no image": ("POST", "/infer/caption", {}, 400, "names no image"),
    "text file": ("POST", INFER + "letter", {}, 400, "letter: is not a picture"),
    "text sent": ("POST", "/infer/caption", image("a.txt"), 400, "the image sent"),
    "path outside": ("POST", INFER + "/etc/hostname", {}, 404, "/etc/hostname"),
    "path above": ("POST", INFER + "../secret.png", {}, 404, "secret.png"),
    "path in params": ("POST", INFER + "nowhere", params('{"image": "/etc/hostname"}'), 404, "nowhere"),
    "path of a whole slide": ("POST", "/infer/wsi_v2/caption?image=/etc/hostname", {}, 400, "whole-slide"),
    "path up the proxy": ("GET", "/proxy/dicom/%2e%2e%2finstances", {}, 404, ".."),
    "path in a session": ("POST", "/infer/caption?session_id=../../etc", {}, 404, "session"),
    "weights": ("GET", "/model/caption", {}, 404, "caption"),
    "params no JSON": ("POST", INFER + "picture", params("{"), 400, "JSON"),
    "params a list": ("POST", INFER + "picture", params("[1]"), 400, "JSON object"),
    "beams": ("POST", INFER + "picture", params('{"num_beams": 0}'), 400, "num_beams"),
    "window": ("POST", INFER + "picture", params('{"window": "bones"}'), 400, "bones"),
    "option": ("POST", INFER + "picture", params('{"num_beam": 1}'), 400, "num_beams"),
    "slice": ("POST", INFER + "volume", params('{"slice": 99}'), 400, "slice 99"),
    "model": ("POST", "/infer/nothing?image=picture", {}, 400, "caption"),
    "output": ("POST", INFER + "picture&output=image", {}, 400, "output"),
    "label of nothing": ("PUT", LABEL + "nowhere", label('{"caption": "x"}'), 404, "nowhere"),
    "label no JSON": ("PUT", LABEL + "picture", label("x"), 400, "JSON"),
    "label empty": ("PUT", LABEL + "picture", label('{"caption": " "}'), 400, "caption"),
    "tag": ("PUT", "/datastore/label?image=picture&tag=../../x", label('{"caption": "x"}'), 400, "tag"),
    "image id": ("PUT", "/datastore/image?image=../../x", image("a.png"), 400, "inside"),
    "image taken": ("PUT", "/datastore/image?image=picture", image("a.png"), 400, "taken"),
    "image no image": ("PUT", "/datastore/image?image=new", image("a.exe"), 400, ".exe"),
    "train settings": ("POST", "/train/caption?run_sync=true", {"json": {"epochs": 0}}, 400, "epochs"),
    "train version": ("POST", "/train/caption?run_sync=true", {"json": {"activate": "9999"}}, 400, "9999"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_gets_a_sentence(server: LabelServer, what: str) -> None:
    method, path, more, status, says = BAD[what]
    reply = server.ask(method, path, **more)
    assert reply.status_code == status, reply.text
    sentence = reply.json()["detail"]
    assert says in sentence and "\n" not in sentence and "Traceback" not in sentence


def test_a_series_is_downloaded_as_a_zip_that_reads_alike(server: LabelServer, studies: Path, tmp_path: Path) -> None:
    reply = server.ask("GET", "/datastore/image", params={"image": "patient/ct_series"})
    assert reply.headers["content-type"] == "application/zip"
    (tmp_path / "series.zip").write_bytes(reply.content)
    original = read_case(studies / "patient" / "ct_series", slice=4)
    assert (read_case(tmp_path / "series.zip", slice=4).pixels == original.pixels).all()
    missing = server.ask("GET", "/datastore/image", params={"image": "nowhere"})
    assert missing.status_code == 404 and "nowhere" in missing.json()["detail"]


def test_no_upload_stays_behind_whatever_came_of_it(server: LabelServer) -> None:
    before = sorted(server.uploads.rglob("*"))
    long = server.ask("POST", "/infer/caption", **image("x" * 300 + ".1.2.840.png"))
    assert long.status_code == 400 and "the image sent" in long.json()["detail"]
    for what in ("text sent", "label empty", "image taken"):
        method, path, more, _, _ = BAD[what]
        server.ask(method, path, **more)
    assert sorted(server.uploads.rglob("*")) == before


def test_the_server_lives_on_after_all_that(server: LabelServer, studies: Path) -> None:
    assert server.caption("picture", **QUICK)["caption"]
    assert not (studies.parent / "x.json").exists() and not (studies.parent / "x.png").exists()
    assert "Traceback" not in server.log.read_text(errors="replace")


def test_a_page_of_another_origin_may_not_call(server: LabelServer) -> None:
    answer = server.ask("GET", "/info/", headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    own = server.ask("GET", "/info/", headers={"Origin": server.url})
    assert own.headers["access-control-allow-origin"] == server.url


@pytest.mark.parametrize("headers", [{"Origin": "http://elsewhere.example"}, {"Origin": "null"},
                                     {"Sec-Fetch-Site": "cross-site"}])  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/train/caption"), ("POST", "/batch/infer/caption"), ("POST", "/infer/caption?image=picture"),
     ("PUT", LABEL + "picture"), ("PUT", "/session/"), ("DELETE", "/datastore/?id=picture"), ("DELETE", "/train/")],
)  # fmt: skip
def test_a_page_of_another_site_starts_and_changes_nothing(
    server: LabelServer, method: str, path: str, headers: dict[str, str]
) -> None:
    refused = server.ask(method, path, headers=headers, files={"file": ("a.png", b"x")})
    assert refused.status_code == 403 and "a page of another site may not ask" in refused.json()["detail"]
    assert server.ask("GET", "/train/").status_code == server.ask("GET", "/batch/infer/").status_code == 404
    assert "picture" in server.ask("GET", "/datastore/?output=all").json()["objects"]


def test_bodies_that_are_too_long_are_refused(server: LabelServer) -> None:
    long = server.ask("POST", "/train/caption", data=b" " * (2**20 + 1), headers={"Content-Type": "application/json"})
    assert long.status_code == 413 and "at most 1048576 bytes" in long.json()["detail"]


def test_a_page_whose_name_points_here_is_refused(server: LabelServer) -> None:
    """DNS rebinding: the request comes from the same computer and carries the page's name."""
    refused = server.ask("GET", "/info/", headers={"Host": "evil.example:8000"})
    assert refused.status_code == 403 and "MSMEDCAP_HOSTS" in refused.json()["detail"]
    assert (
        server.ask("POST", "/infer/caption", params={"image": "picture"}, headers={"Host": "evil.example"}).status_code
        == 403
    )
    assert server.ask("GET", "/info/", headers={"Host": "localhost:8000"}).status_code == 200


def test_a_header_without_its_voxels_is_no_upload(server: LabelServer, tmp_path: Path) -> None:
    (tmp_path / "a.mhd").write_text("NDims = 3\nDimSize = 9 9 9\nElementDataFile = ../server.log\n")
    content = (tmp_path / "a.mhd").read_bytes()
    refused = server.ask("POST", "/infer/caption", files={"file": ("a.mhd", content)})
    assert refused.status_code == 400 and refused.json()["detail"].startswith("the image sent: is a header without")
    refused = server.ask("PUT", "/datastore/image?image=sent", files={"file": ("a.mhd", content)})
    assert refused.status_code == 400 and refused.json()["detail"].startswith("sent: is a header without")


def test_a_session_with_a_link_that_leads_out_is_refused(server: LabelServer, tmp_path: Path, studies: Path) -> None:
    (tmp_path / "link.png").symlink_to(studies / "picture.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "link.png", "link.png")
    sent = {"files": ("a.tar", (tmp_path / "a.tar").read_bytes())}
    refused = server.ask("PUT", "/session/", params={"uncompress": "true"}, files=sent)
    assert refused.status_code == 500 and "Link" in refused.json()["detail"]
