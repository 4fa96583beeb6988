"""Uploads: they become cases of their owner, below their own folder, and are bounded."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from asked_service import ask, form, post
from made_files import body, ct_series

from scripts.commands.serve import CaptionServer
from scripts.commands.service.uploads import safe_name


def test_uploads_become_cases_that_only_their_owner_can_name(
    server: CaptionServer, tmp_path: Path, image: Path
) -> None:
    series = ct_series(tmp_path / "ct", body())
    files = [(f"ct/{path.name}", path.read_bytes()) for path in sorted(series.iterdir())]
    content, kind = form([*files, ("../../a.dcm", image.read_bytes())])
    found = json.loads(ask(server, "POST", "/images", content, Content_Type=kind)[1])
    assert len(found["images"]) == 2 and all(len(one["id"]) > 20 for one in found["images"])
    stack = next(one["id"] for one in found["images"] if one["name"].startswith("ct"))
    told = json.loads(ask(server, "GET", f"/images/{stack}/stack")[1])
    assert told["count"] == 12 and told["type"] == "int16" and told["units"] == "HU"
    values = ask(server, "GET", f"/images/{stack}/stack/3")[1]
    assert len(values) == told["rows"] * told["columns"] * 2
    assert ask(server, "GET", f"/images/{stack}/stack/12")[0].status == 404
    assert ask(server, "GET", "/images/image:guessed/stack")[0].status == 404
    status, reply = post(server, {"image": stack, "slice": 3})
    assert status == 200 and reply["slice"] == [3] and "msmedcap_" not in json.dumps(reply)
    file = next(server.service.library.uploads.get(found["upload"]).folder.iterdir())
    assert post(server, {"image": str(file)})[0] == 403


def test_captions_are_kept_up_to_a_size(server: CaptionServer, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, kind = form([("a.dcm", image.read_bytes())])
    name, one = json.loads(ask(server, "POST", "/images", content, Content_Type=kind)[1])["images"][0]["id"], 3 * 2**20
    monkeypatch.setattr("scripts.commands.service.service.MAX_KEPT_BYTES", 2 * one)
    for kept in (1, 2, 2):
        post(server, {"image": name})
        assert len(server.service.kept) == kept and server.service.kept_bytes() == kept * one
    explained = [post(server, {"image": name, "explain": True})[1]["id"]]  # too large, and kept all the same
    assert explained == list(server.service.kept)


def test_a_zip_is_unpacked_below_its_folder_and_bombs_are_refused(
    server: CaptionServer, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../up.dcm", image.read_bytes())
        archive.writestr("deep/b.dcm", image.read_bytes())
    content, kind = form([("a.zip", (tmp_path / "a.zip").read_bytes())])
    found = json.loads(ask(server, "POST", "/images", content, Content_Type=kind)[1])
    folder = server.service.library.uploads.get(found["upload"]).folder
    assert sorted(path.name for path in folder.rglob("*.dcm")) == ["b.dcm", "up.dcm"]
    monkeypatch.setattr("scripts.commands.service.uploads.MAX_KEPT", 2**21)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(2**23))
    content, kind = form([("bomb.zip", (tmp_path / "bomb.zip").read_bytes())])
    assert ask(server, "POST", "/images", content, Content_Type=kind)[0].status == 413


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc/passwd", "etc/passwd"), ("C:\\x\\y.dcm", "C_/x/y.dcm"), ("", "image"), (".hidden", "hidden"),
     ("a\x00b<c>.png", "a_b_c_.png"), ("/" * 9, "image")],
)  # fmt: skip
def test_names_of_uploads_stay_below_their_folder(name: str, safe: str) -> None:
    assert str(safe_name(name)) == safe
