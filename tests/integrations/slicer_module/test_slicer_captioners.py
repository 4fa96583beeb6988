"""Captioners that die, vanish, hang or say more than is known; a worker whose parent has the standard library only."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (make test installs it)")

from ImageCaptioningLib.captioners import local  # noqa: E402
from ImageCaptioningLib.captioners.choices import LABEL, LOCAL, Choice, forget_setup, keep_choice, load_choice  # noqa: E402
from ImageCaptioningLib.captioners.local import LocalWorker, close_shared, shared_worker  # noqa: E402
from ImageCaptioningLib.captioners.server import LabelServer  # noqa: E402
from ImageCaptioningLib.captioners.service import CaptionService  # noqa: E402
from ImageCaptioningLib.errors import CaptioningError  # noqa: E402
from ImageCaptioningLib.jobs import CancelledError, Job, Progress  # noqa: E402
from ImageCaptioningLib.logic import CHOSEN, CaptionLogic  # noqa: E402
from PIL import Image  # noqa: E402
from scenes import Scene, voxel_to_ras, windowed  # noqa: E402
from study_files import body  # noqa: E402

from scripts.predictor import CaptionPredictor  # noqa: E402

QUICK = {"num_beams": 1}
PARENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ImageCaptioningLib.captioners.local import LocalWorker
try:
    import numpy
except ImportError:
    pass
else:
    sys.exit("this Python was to have nothing")
worker = LocalWorker(sys.argv[2], sys.argv[3])
print(json.dumps(worker.caption(sys.argv[4], window="none", num_beams=1, explain="gradient")))
worker.close()
"""
HANGS = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "hello":
        print(json.dumps({"id": request["id"], "ok": True, "result": {"model_version": "1", "process": os.getpid()}}),
              flush=True)
    else:
        time.sleep(600)
"""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[LocalWorker]:
    """A bundle whose worker never answers a caption request."""
    for folder in ("configs", "scripts/commands"):
        (tmp_path / "bundle" / folder).mkdir(parents=True)
    for package in ("scripts", "scripts/commands"):
        (tmp_path / "bundle" / package / "__init__.py").touch()
    (tmp_path / "bundle" / "scripts" / "commands" / "worker.py").write_text(HANGS)
    worker = LocalWorker(sys.executable, tmp_path / "bundle")
    yield worker
    worker.cancel()
    worker.close()


def test_a_worker_whose_parent_has_the_standard_library_only(
    bundle_root: Path, tmp_path: Path, predictor: CaptionPredictor
) -> None:
    png = tmp_path / "slice.png"
    Image.fromarray(windowed(body()[6])).save(png)
    library = Path(local.__file__).parents[2]
    command = [sys.executable, "-I", "-S", "-c", PARENT, str(library), sys.executable, str(bundle_root), str(png)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    expected = predictor.caption(png, window="none", num_beams=1, explain="gradient")
    assert reply["caption"] == expected.text
    assert reply["explanation"]["words"] == list(expected.case.explanation.words)


@pytest.fixture(scope="module")
def worker(bundle_root: Path) -> Iterator[LocalWorker]:
    made = LocalWorker(sys.executable, bundle_root)
    yield made
    made.close()


def test_the_captioners_own_window_is_the_bundles(
    worker: LocalWorker, studies: Path, predictor: CaptionPredictor
) -> None:
    """A slice that is sent with its values is captioned as that slice of the volume's own file."""
    place = Scene()
    volume = place.load(studies / "volume.nii.gz", window=(1000, 50))  # nothing to be seen with this window
    logic = CaptionLogic(place.mrml, worker)
    draft = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 7))), window=CHOSEN, **QUICK)
    expected = predictor.caption(studies / "volume.nii.gz", slice=7, plane="axial", **QUICK)
    assert draft.text == expected.text and draft.likely == pytest.approx(expected.confidence, abs=1e-4)
    assert draft.window == expected.record["window"]["text"] and draft.reply["plane"] == "axial"

    explained = logic.caption(volume, place.view, window=CHOSEN, explain="gradient", **QUICK)
    regions = predictor.caption(studies / "volume.nii.gz", slice=7, plane="axial", explain="gradient", **QUICK)
    squares = regions.case.explanation.regions[:, 0].numpy() > 0
    for word in [word for word in range(len(explained.words)) if not explained.names_nothing(word)]:
        np.testing.assert_array_equal(worker.region(explained.id, word), squares[word])
    drawn = [logic.drawing(explained, word)() for word in range(len(explained.words))]
    assert [mask is not None for mask in drawn] == [bool(square.any()) for square in squares] and any(squares.flat)
    assert all(mask.shape == explained.picture.pixels.shape for mask in drawn if mask is not None)
    assert logic.drawing(draft, 0)() is None  # another slice was captioned since: the map's own region stands in
    logic.close()


def test_local_mode_captions_and_writes_the_report_of_the_right_slice(
    worker: LocalWorker, studies: Path, predictor: CaptionPredictor, tmp_path: Path
) -> None:
    place = Scene()
    volume = place.load(studies / "patient" / "ct_series")
    logic = CaptionLogic(place.mrml, worker)
    view = place.look("Axial", voxel_to_ras(volume, (40, 48, 7)))
    draft = logic.caption(volume, view, **QUICK)
    Image.fromarray(windowed(body()[7])).save(tmp_path / "slice.png")
    assert draft.text == predictor.caption(tmp_path / "slice.png", window="none", **QUICK).text
    with pytest.raises(CaptioningError, match="num_beams"):
        logic.caption(volume, view, num_beams=0)

    report = pydicom.dcmread(logic.reporting(draft, "A corrected caption.", tmp_path / "sr.dcm", worker)())
    source = pydicom.dcmread(studies / "patient" / "ct_series" / "007.dcm")
    assert report.PatientID == source.PatientID and report.StudyInstanceUID == source.StudyInstanceUID
    assert report.PreliminaryFlag == "PRELIMINARY" and report.VerificationFlag == "UNVERIFIED"
    text = report.to_json()
    assert "A corrected caption." in text and source.SOPInstanceUID in text
    other = pydicom.dcmread(studies / "patient" / "ct_series" / "008.dcm")
    assert other.SOPInstanceUID not in text

    fhir = logic.reporting(draft, "A corrected caption.", tmp_path / "report.json", worker, format="fhir")()
    told = json.loads(fhir.read_text())
    assert (told["resourceType"], told["status"], told["conclusion"]) == (
        "DiagnosticReport", "preliminary", "A corrected caption.")  # fmt: skip
    with pytest.raises(CaptioningError, match="'format' is dicom_sr or fhir"):
        logic.reporting(draft, "x", tmp_path / "report.xyz", worker, format="xyz")()

    across = logic.caption(volume, place.look("Coronal", voxel_to_ras(volume, (40, 30, 7))), **QUICK)
    report = pydicom.dcmread(logic.reporting(across, across.text, tmp_path / "across.dcm", worker)())
    assert other.SOPInstanceUID in report.to_json()  # a coronal picture rests on all slices

    nifti = place.load(studies / "volume.nii.gz")
    with pytest.raises(CaptioningError, match="not DICOM"):
        logic.reporting(
            logic.caption(nifti, place.look("Axial", voxel_to_ras(nifti, (40, 48, 7))), **QUICK), "x",
            tmp_path / "no.dcm", worker,
        )()  # fmt: skip
    logic.close()
    worker.close()  # the tests below start captioners of their own


def test_a_worker_that_dies_during_captioning_is_one_sentence_and_the_next_request_starts_another(
    hanging: LocalWorker, tmp_path: Path
) -> None:
    process = hanging._ask("hello")["process"]
    job = Job(lambda _progress: hanging.caption(tmp_path / "x.png"))
    time.sleep(0.3)
    os.kill(process, signal.SIGKILL)
    job.join(20)
    assert isinstance(job.error, CaptioningError)
    assert str(job.error) == "the captioning process ended: it said nothing"
    assert hanging.check() == "1" and hanging._ask("hello")["process"] != process


def test_cancelling_ends_the_process_at_once(hanging: LocalWorker, tmp_path: Path) -> None:
    hanging.check()
    process = hanging._process
    job = Job(lambda _progress: hanging.caption(tmp_path / "x.png"), hanging.cancel)
    time.sleep(0.3)
    job.cancel()
    job.join(10)
    assert job.done and process.poll() is not None


def test_what_is_no_reply_ends_the_worker(hanging: LocalWorker) -> None:
    (hanging.bundle / "scripts" / "commands" / "worker.py").write_text("print('Traceback: no JSON', flush=True)")
    with pytest.raises(CaptioningError, match="process ended: it said nothing"):
        hanging.check()


def test_a_started_worker_is_used_again(hanging: LocalWorker) -> None:
    first = shared_worker(sys.executable, hanging.bundle, None)
    first.check()
    assert shared_worker(sys.executable, hanging.bundle, None) is first and first.running
    close_shared(hanging.bundle)
    assert not first.running and shared_worker(sys.executable, hanging.bundle, None) is not first
    close_shared()


class Vanishing(http.server.BaseHTTPRequestHandler):
    """Takes the connection and goes away without an answer."""

    protocol_version = "HTTP/1.1"
    replies: list[dict] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        if not self.replies:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        reply = self.replies.pop(0)
        code = reply.pop("http", 200)
        content = json.dumps(reply).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def vanishing() -> Iterator[tuple[str, list[dict]]]:
    Vanishing.replies = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vanishing) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}", Vanishing.replies
        served.shutdown()


@pytest.mark.parametrize("kind", [LabelServer, CaptionService])
def test_a_server_that_vanishes_during_captioning_is_one_sentence(
    kind: type, vanishing: tuple[str, list[dict]], tmp_path: Path
) -> None:
    url, _replies = vanishing
    (tmp_path / "x.png").write_bytes(b"png")
    with pytest.raises(CaptioningError, match=f"no answer from {url} .*: is .* started"):
        kind(url).caption(tmp_path / "x.png")


def test_a_training_is_followed_and_can_be_stopped(vanishing: tuple[str, list[dict]]) -> None:
    url, replies = vanishing
    report = {"version": "0003", "training": 9, "validation_loss": [1.0]}
    log = "[2026-01-01 09:00:00,000] [7] [MainThread] [INFO] (monailabel.datastore.local:577) - Invalidate count: 0"
    replies += [
        {}, {"status": "RUNNING", "details": [log]}, {"status": "RUNNING", "details": [log, "encoding detail 3/6"]},
        {"status": "RUNNING", "details": ["encoding detail 6/6", "epoch 2/8, batch 5/10", "validate 1/4"]},
        {"status": "DONE", "details": []}, {"train_stats": {"caption": report}},
    ]  # fmt: skip
    seen = []

    class Watched(Progress):
        def wait(self, seconds: float) -> None:
            seen.append((self.text, self.fraction))

    assert LabelServer(url).train(Watched()) == report
    assert seen == [
        ("the server prepares the training", None), ("preparing the training: 3 of 6", None),
        ("training: epoch 2 of 8, batch 5 of 10", 1.5 / 8),
    ]  # fmt: skip
    replies += [{}, {"status": "RUNNING", "details": []}, {"stopped": True}]
    progress = Progress()
    progress.cancel()
    with pytest.raises(CancelledError):
        LabelServer(url).train(progress, 0.01)
    assert replies == []  # the server was told
    running = {"http": 429, "detail": "++++++++++ Train Task is Already Running"}
    replies += [dict(running), {"status": "RUNNING", "details": ["epoch 1/2"]}, {"status": "DONE"},
                {"train_stats": {"caption": report}}]  # fmt: skip
    assert LabelServer(url).train(Watched()) == report and seen[-1] == ("training: epoch 1 of 2", 0.5)
    replies += [dict(running), {"status": "RUNNING"}]
    with pytest.raises(CancelledError):
        LabelServer(url).train(progress, 0.01)
    assert replies == []  # a colleague's training goes on
    replies += [{}, {"status": "STOPPED", "details": ["epoch 1/2"]}]
    with pytest.raises(CaptioningError, match="the training was stopped on the server"):
        LabelServer(url).train(Progress(), 0.01)
    error = "scripts.errors.InputError: 1 captions are reviewed; correct and save at least 2 before training"
    replies += [{}, {"status": "ERROR", "details": ["Traceback", error]}]
    with pytest.raises(CaptioningError, match="training failed: 1 captions are reviewed"):
        LabelServer(url).train(Progress(), 0.01)


def test_the_bundles_own_service_captions(bundle_root: Path, tmp_path: Path, predictor: CaptionPredictor) -> None:
    from label_server import free_port

    port, png = free_port(), tmp_path / "slice.png"
    Image.fromarray(windowed(body()[6])).save(png)
    service = CaptionService(f"http://127.0.0.1:{port}")
    with pytest.raises(CaptioningError, match="is the captioning service started"):
        service.check()
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.commands.serve", "--root", str(tmp_path), "--port", str(port),
         "--set", "anything=true", "--set", "abstain_below=0"], cwd=bundle_root,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 250
        while time.monotonic() < until:
            try:
                version = service.check()
                break
            except CaptioningError:
                assert process.poll() is None
                time.sleep(0.5)
        assert version == predictor.provenance["model_version"]
        reply = service.caption(png, window="none", num_beams=1)
        expected = predictor.caption(png, window="none", num_beams=1)
        assert reply["caption"] == expected.text and reply["resize"]["from"] == [96, 80]
        explained = service.caption(png, window="none", num_beams=1, explain="gradient")
        regions = predictor.caption(png, window="none", num_beams=1, explain="gradient").case.explanation.regions
        maps = explained["explanation"]["maps"]["detail"]
        for word in [word for word, one in enumerate(maps) if one is not None]:
            np.testing.assert_array_equal(service.region(explained["id"], word), regions[word, 0].numpy() > 0)
        with pytest.raises(CaptioningError, match="no region for this word"):
            service.region(explained["id"], 999)
        (tmp_path / "broken.png").write_bytes(b"no image")
        with pytest.raises(CaptioningError, match="broken.png"):
            service.caption(tmp_path / "broken.png")
    finally:
        process.terminate()
        process.wait(30)
        service.close()


def test_the_choice_is_kept_without_its_token() -> None:
    kept: dict[str, object] = {}
    choice = Choice(mode=LABEL, label_url="https://label.example", token="secret", cpu_only=False, wheels="/w")
    keep_choice(choice, kept.__setitem__)
    assert "secret" not in str(kept)
    again = load_choice(lambda key, default: kept.get(key, default))
    assert again == Choice(mode=LABEL, label_url="https://label.example", cpu_only=False, wheels="/w")
    kept["ImageCaptioning/cpu_only"] = "true"  # Qt's settings give text
    assert load_choice(lambda key, default: kept.get(key, default)).cpu_only is True
    assert load_choice(lambda key, default: default).mode == LOCAL
    forget_setup(kept.pop)
    assert not {"ImageCaptioning/source", "ImageCaptioning/wheels", "ImageCaptioning/python"} & set(kept)
    assert kept["ImageCaptioning/label_url"] == "https://label.example"


def test_in_the_panel_a_dead_worker_and_a_vanished_server_cost_one_sentence_and_no_edit(
    hanging: LocalWorker, vanishing: tuple[str, list[dict]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed (make test installs it)")
    from desktop import desktop
    from ImageCaptioningLib.captioners import choices
    from ImageCaptioningLib.images import samples
    from test_slicer_logic import FixedBackend

    place = Scene()
    [volume] = samples.load_ct(place.mrml)
    place.look("Axial", voxel_to_ras(volume, (64, 64, 20)))
    now = [FixedBackend()]
    monkeypatch.setattr(choices.Choice, "backend", lambda self, installation: now[0])
    with desktop(place, tmp_path, monkeypatch) as shown:
        shown.press(shown.panel.ui.captionButton)
        shown.panel.caption_ui.captionEdit.setPlainText("half written")
        now[0] = hanging
        process = hanging._ask("hello")["process"]
        shown.panel.ui.captionButton.click()
        time.sleep(0.3)
        os.kill(process, signal.SIGKILL)
        assert shown.wait() == "The captioning process ended: it said nothing."
        now[0] = LabelServer(vanishing[0])
        shown.panel._choice = None
        assert shown.press(shown.panel.ui.captionButton).endswith("is MONAI Label started?")
        assert shown.panel.caption.text == "half written" and shown.panel.ui.captionButton.isEnabled()
