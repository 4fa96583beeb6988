"""The service over real sockets, with a predictor that is quick and one test with the real one."""

from __future__ import annotations

import gc
import http.client
import json
import os
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from child_process import Child
from scripts.commands.samples import write_samples
from scripts.commands.serve import CaptionServer, main
from scripts.errors import InputError
from scripts.predictor import CaptionPredictor
from scripts.reading import read_case


class Quick:
    """Answers as a predictor does, and notes how many calls ran at once."""

    provenance = {"model_version": "1.0.0", "weights": {"model.pt": "a" * 64}}
    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.hold = threading.Event()
        self.hold.set()

    def options_of(self, generation: dict) -> tuple:
        return tuple(sorted(generation.items()))

    def load(self, image: str | list[str], **reading: object) -> tuple[torch.Tensor, dict]:
        if "broken" in str(image):
            raise InputError(f"{image}: is damaged; export it again")
        if reading.get("slice") == "boom":
            raise KeyError("boom")
        return torch.zeros(3, 8, 8), {"path": image}

    def caption_loaded(
        self, images: list, loaded: list, *, asked: dict, options: tuple, written, **more: object
    ) -> list:
        self.batches.append(len(images))
        assert self.hold.wait(20)
        for count in range(1, 4):
            written(dict.fromkeys(range(len(images)), "a caption grows"[: 5 * count]))
        given = {name: value for name, value in asked.items() if value is not None} | dict(options)
        return [self._caption(image, given) for image in images]

    def _caption(self, image: str | list[str], given: dict) -> SimpleNamespace:
        record = {"image": image, "caption": f"seen {given}", "abstained": False, "trace": {"input": {"path": image}}}
        case = SimpleNamespace(explanation=None, source=image, record=record)
        return SimpleNamespace(record=record, text=record["caption"], seconds={"read": 0.1}, case=case)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CaptionServer]:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "a.png").write_bytes(b"x")
    (root / "broken.png").write_bytes(b"x")
    for link in ("link.png", "study/series/1.dcm", "pair.img"):
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(tmp_path / "secret.png", root / link)
    for name in ("study/series/2.dcm", "medium/DICOMDIR", "pair.hdr", "whole/1.dcm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    os.symlink(tmp_path, root / "medium" / "IMAGES")
    os.symlink(root / "a.png", root / "whole" / "2.dcm")  # a link inside: that is fine
    made = CaptionServer(Quick(), root=root)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def ask(
    server: CaptionServer, body: object = None, *, path: str = "/caption", method: str = "POST", **headers: str
) -> tuple[int, dict]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=250)
    raw = body if isinstance(body, bytes | str) or body is None else json.dumps(body)
    headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    connection.request(method, path, raw, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_health_and_a_caption(server: CaptionServer) -> None:
    status, health = ask(server, path="/health", method="GET")
    assert status == 200 and health["status"] == "ready" and Quick.provenance.items() <= health.items()
    assert health["limits"]["waiting"] == 32 and health["limits"]["upload_bytes"] == 2**28
    status, answer = ask(server, {"image": "a.png", "window": "lung", "num_beams": 2})
    assert status == 200 and answer["image"] == "a.png" and answer["seconds"] == {"read": 0.1}
    assert answer["caption"] == "seen {'window': 'lung', 'num_beams': 2}"
    assert str(server.root) not in json.dumps(answer)
    assert ask(server, {"image": "whole"})[0] == 200
    assert ask(server, {"image": ["a.png", "a.png"]})[1]["image"] == ["a.png", "a.png"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("not json", 400, "not JSON"),
        ([1], 400, "object"),
        ({}, 400, "image is a path"),
        ({"image": 7}, 400, "image is a path"),
        ({"image": "a.png", "beams": 2}, 400, "'beams' is no option"),
        ({"image": "a.png", "num_beams": 10**6}, 400, "at most 32"),
        ({"image": "a.png", "max_new_tokens": "many"}, 400, "whole number"),
        ({"image": "../secret.png"}, 403, "outside the served folder"),
        ({"image": "/etc/passwd"}, 403, "outside the served folder"),
        ({"image": "link.png"}, 403, "outside the served folder"),
        ({"image": "study"}, 403, "study holds a link that leads outside the served folder"),
        ({"image": "medium/DICOMDIR"}, 403, "holds a link"),
        ({"image": "pair.hdr"}, 403, "holds a link"),
        ({"image": ["a.png", "study"]}, 403, "holds a link"),
        ({"image": "none.png"}, 404, "does not exist"),
        ({"image": "broken.png"}, 422, "broken.png: is damaged"),
        ({"image": "a.png", "slice": "boom"}, 500, "KeyError"),
    ],
)
def test_wrong_requests_get_a_sentence_and_the_service_goes_on(
    server: CaptionServer, body: object, status: int, words: str
) -> None:
    found, answer = ask(server, body)
    assert found == status and words in answer["error"] and str(server.root) not in answer["error"]
    assert ask(server, {"image": "a.png"})[0] == 200


def test_other_paths_hosts_and_sizes_are_refused(server: CaptionServer) -> None:
    assert ask(server, {"image": "a.png"}, path="/other")[0] == 404
    assert ask(server, path="/nothing", method="GET")[0] == 404
    assert ask(server, {"image": "a.png"}, Host="evil.example:80")[0] == 403
    assert ask(server, "x", Content_Length=str(2**40))[0] == 413
    assert ask(server, b"bytes of an image", Content_Type="application/dicom")[1]["image"] == "upload"


def test_an_upload_is_told_by_its_bytes_and_not_kept(
    server: CaptionServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume, a picture that Pillow alone would know by its ending, and bytes that are nothing."""
    seen = []

    def load(image: str, **options: object) -> tuple[torch.Tensor, dict]:
        seen.append(read_case(image).meta["reader"])
        return Quick().load(image, **options)

    monkeypatch.setattr(server.predictor, "load", load)
    (tmp_path / "uploads").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "uploads"))
    pixels = np.arange(32 * 40 * 24, dtype=np.int16).reshape(32, 40, 24)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii.gz")
    Image.fromarray(pixels[:, :, 0].astype(np.uint8)).save(tmp_path / "a.pgm")
    for name in ("a.nii.gz", "a.pgm"):
        status, answer = ask(server, (tmp_path / name).read_bytes(), Content_Type="application/octet-stream")
        assert status == 200 and answer["image"] == "upload", answer
    assert seen == ["nibabel Nifti1", "Pillow PPM"]
    status, answer = ask(server, b"hello" * 100, Content_Type="application/octet-stream")
    assert status == 422 and answer["error"].startswith("upload: is not an image of a known kind")
    header = b"NDims = 3\nDimSize = 20 20 20\nElementType = MET_UCHAR\nElementDataFile = secret.raw\n"
    status, answer = ask(server, header, Content_Type="application/octet-stream")
    assert status == 422 and answer["error"].startswith("upload: is a header without its voxels")
    assert not list((tmp_path / "uploads").iterdir())


def test_it_listens_on_this_computer_only_and_needs_a_folder(server: CaptionServer, tmp_path: Path) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(InputError, match="no folder"):
        main(["--root", str(tmp_path / "nowhere")])
    port, nothing = str(server.server_address[1]), ["--bundle_root", str(tmp_path / "none")]  # told before it is loaded
    with pytest.raises(InputError, match=rf"{port} cannot be served \([^()]*\): choose another --port"):
        main(["--root", str(tmp_path), "--port", port, *nothing])
    with pytest.raises(InputError, match=rf"{port} cannot be served"):  # taken while the model was loaded
        CaptionServer(server.predictor, root=tmp_path, port=int(port))
    with pytest.raises(InputError, match="--port 70000 is none"):
        main(["--port", "70000", *nothing])


def test_requests_at_once_get_what_they_would_get_alone(
    starter: Callable[..., CaptionPredictor], tmp_path: Path
) -> None:
    predictor = starter(num_beams=1, max_new_tokens=4)
    paths = write_samples(tmp_path)[:2]
    alone = {path.name: predictor.caption(path).record for path in paths}
    server = CaptionServer(predictor, root=tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answers: dict[str, dict] = {}

    def one(name: str) -> None:
        answers[name] = ask(server, {"image": name})[1]

    threads = [threading.Thread(target=one, args=(path.name,)) for path in paths]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    uploaded = ask(server, paths[0].read_bytes(), Content_Type="application/dicom")[1]
    server.shutdown()
    server.server_close()
    for name, record in alone.items():
        for key in ("caption", "token_logprobs", "weights", "window"):
            assert answers[name][key] == record[key]
    assert uploaded["caption"] == alone[paths[0].name]["caption"] and "/tmp" not in json.dumps(
        uploaded["trace"]["input"]
    )


def test_who_closes_it_has_the_networks_memory_back(tmp_path: Path) -> None:
    """FastAPI remembers the routes of every app, which know their service: it is not to hold the network, too."""
    predictor = Quick()
    alive = weakref.ref(predictor)
    (tmp_path / "a.png").write_bytes(b"x")
    made = CaptionServer(predictor, root=tmp_path)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    assert ask(made, {"image": "a.png"})[0] == 200
    made.shutdown()
    made.server_close()
    made.service.line._thread.join(60)
    del made, predictor
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_however_it_is_told_to_end_nothing_that_was_sent_stays(number: signal.Signals, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()

    def serve() -> None:
        tempfile.tempdir = str(kept)
        CaptionPredictor.from_bundle = staticmethod(lambda *given, **named: Quick())
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        assert main(["--port", "0"]) == 0

    child = Child(tmp_path / "log", serve)
    ends = time.monotonic() + 60
    while "ready: " not in (said := child.log.read_text() if child.log.exists() else ""):
        assert child.running() and time.monotonic() < ends, said
        time.sleep(0.05)
    address = said.partition("ready: http://")[2].split()[0]
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("POST", "/images?name=a.dcm", b"\0" * 128 + b"DICM", {"Content-Type": "application/dicom"})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() and [path for path in kept.rglob("*") if path.is_file()]
    connection.close()
    assert child.end(number) == 0, child.log.read_text()
    assert list(kept.iterdir()) == []
