"""The Slicer module against the real server and a real captioning process: caption, correct, report."""

from __future__ import annotations

import http.server
import io
import json
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (make test installs it)")

from ImageCaptioningLib.captioners.local import LocalWorker  # noqa: E402
from ImageCaptioningLib.captioners.server import LabelServer as Backend  # noqa: E402
from ImageCaptioningLib.errors import CaptioningError  # noqa: E402
from ImageCaptioningLib.logic import CaptionLogic  # noqa: E402
from ImageCaptioningLib.sources import IMAGE_ID, remember_source, source_files  # noqa: E402
from label_server import LabelServer  # noqa: E402
from PIL import Image  # noqa: E402
from scenes import Scene, voxel_to_ras, windowed  # noqa: E402
from study_files import body, write_series  # noqa: E402

from scripts.predictor import CaptionPredictor  # noqa: E402

QUICK = {"num_beams": 1}


@pytest.fixture
def place() -> Scene:
    return Scene()


def test_a_slice_is_captioned_through_the_server_corrected_and_learned_from(
    place: Scene, server: LabelServer, studies: Path, predictor: CaptionPredictor, tmp_path: Path
) -> None:
    volume = place.load(studies / "patient" / "ct_series")
    logic = CaptionLogic(place.mrml, Backend(server.url))
    assert logic.backend.check() == "bundle"
    view = place.look("Axial", voxel_to_ras(volume, (40, 48, 12)))
    draft = logic.caption(volume, view, explain="gradient", **QUICK)
    Image.fromarray(windowed(body()[12])).save(tmp_path / "slice.png")
    expected = predictor.caption(tmp_path / "slice.png", window="none", **QUICK)
    assert draft.text == expected.text and draft.likely == pytest.approx(expected.confidence, abs=1e-4)
    heat = logic.show(draft, 0)
    assert heat.GetImageData().GetDimensions() == (80, 96, 1)

    volume.SetAttribute(IMAGE_ID, "patient/ct_series")  # the server's own image: the label names its slice
    assert logic.sending(draft, "Axial CT, slice twelve, by Slicer.")() == "patient/ct_series"
    label = server.ask("GET", "/datastore/label?label=patient/ct_series&tag=caption").json()
    assert label["caption"] == "Axial CT, slice twelve, by Slicer." and label["status"] == "reviewed"
    assert (label["slice"], label["plane"], label["options"]["window"]) == (12, "axial", "40/400")

    volume.RemoveAttribute(IMAGE_ID)  # unknown to the server: the picture goes along
    name = logic.sending(draft, "A picture from Slicer.")()
    stored = server.ask("GET", "/datastore/image", params={"image": name})
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored.content))), windowed(body()[12]))
    label = json.loads(server.ask("GET", "/datastore/label", params={"label": name, "tag": "caption"}).content)
    assert label["caption"] == "A picture from Slicer." and label["draft"] == draft.text
    logic.sending(draft, "A picture from Slicer, again.")()  # the same slice: the same image
    assert name in server.ask("GET", "/datastore/?output=all").json()["objects"]

    volume.SetAttribute(IMAGE_ID, "patient/ct_series")  # another slice of it: its caption does not replace the first
    other = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 3))), **QUICK)
    logic.sending(other, "Axial CT, slice three, by Slicer.")()
    label = server.ask("GET", "/datastore/label?label=patient/ct_series&tag=caption").json()
    kept = {item["slice"]: item["caption"] for item in (label, *label["others"])}
    assert kept == {3: "Axial CT, slice three, by Slicer.", 12: "Axial CT, slice twelve, by Slicer."}
    logic.close()


def test_a_real_series_is_captioned_through_the_server(place: Scene, server: LabelServer, studies: Path) -> None:
    if not (studies / "real_series").is_dir():
        pytest.skip("real test images are not on this machine")
    volume = place.load(studies / "real_series", window=(40, 80))
    logic = CaptionLogic(place.mrml, Backend(server.url))
    draft = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (256, 256, 12))), **QUICK)
    assert draft.picture.pixels.shape == (486, 512)  # its gantry was tilted by 18 degrees: 512 * cos(18.3)
    assert draft.picture.plane is None  # so a straight cut is none of the acquired slices
    assert len(draft.text.split()) > 3
    node = logic.save(draft, draft.text)
    assert node.GetNodeReference("captionedVolume") is volume
    logic.close()


def test_an_image_of_a_server_elsewhere_is_fetched_and_loads(
    place: Scene, server: LabelServer, studies: Path, tmp_path: Path
) -> None:
    backend = Backend(server.url)
    picture = backend.download("picture", tmp_path)
    assert picture.name == "picture.png" and picture.read_bytes() == (studies / "picture.png").read_bytes()
    folder = backend.download("patient/ct_series", tmp_path)
    volume = place.load(folder)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), body())
    assert len(source_files(volume)) == 18  # so its report can be written here
    with pytest.raises(CaptioningError, match="nowhere"):
        backend.download("nowhere", tmp_path)


class Shelf(http.server.BaseHTTPRequestHandler):
    """A server with two patients' images, both called IM0001.dcm."""

    images: dict[str, bytes] = {}

    def do_GET(self) -> None:  # noqa: N802
        name = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["image"][0]
        self.send_response(200)
        self.send_header("content-type", "application/dicom")
        self.send_header("content-disposition", 'attachment; filename="IM0001.dcm"')
        self.end_headers()
        self.wfile.write(self.images[name])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[str]:
    for name in ("patientA", "patientB"):
        [file, *_] = sorted(write_series(tmp_path / name, body(1), patient=name).iterdir())
        Shelf.images[f"{name}/IM0001"] = file.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_two_patients_images_of_one_name_stay_two_images(place: Scene, shelf: str, tmp_path: Path) -> None:
    backend = Backend(shelf)
    names = ("patientA/IM0001", "patientB/IM0001")
    volumes = []
    for name in names:
        path = backend.download(name, tmp_path / "downloads")
        volumes.append(place.load(path))
        remember_source(volumes[-1], name, [path])
    found = [[pydicom.dcmread(file).PatientID for file in source_files(volume)] for volume in volumes]
    assert found == [["patientA"], ["patientB"]]
    assert Backend(shelf + "/other").download(names[0], tmp_path / "downloads") != path  # nor do two servers' images

    Shelf.images[names[0]] = Shelf.images[names[1]]  # another image by that name, since the volume was loaded
    backend.download(names[0], tmp_path / "downloads")
    with pytest.raises(CaptioningError, match="hold other images than it was loaded from"):
        source_files(volumes[0])
    assert source_files(volumes[1])


@pytest.mark.parametrize(
    ("url", "path", "is_taken"),
    [
        ("http://127.0.0.1:8000", "HERE", True),
        ("http://localhost:8000", "HERE", True),
        ("https://[::1]:8000", "HERE", True),
        ("http://label.example:8000", "HERE", False),  # another machine's path, which exists here too
        ("http://127.0.0.1.label.example", "HERE", False),
        ("http://127.0.0.1:8000", "", False),
        ("http://127.0.0.1:8000", "relative.png", False),
        ("http://127.0.0.1:8000", "/nowhere/a.png", False),
    ],
)
def test_a_path_of_the_servers_is_taken_on_its_own_computer_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, path: str, is_taken: bool
) -> None:
    for name in ("a.png", "relative.png"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Backend, "download", lambda self, image_id, folder: folder / image_id)
    here = tmp_path / "a.png"
    found = Backend(url).fetch({"id": "p", "path": str(here) if path == "HERE" else path}, tmp_path / "downloads")
    assert found == (here if is_taken else tmp_path / "downloads" / "p")


def test_files_of_the_dicom_module_are_the_instances_that_it_loaded(place: Scene, tmp_path: Path) -> None:
    volume = place.load(write_series(tmp_path / "series", body(3)))
    files = sorted((tmp_path / "series").iterdir())
    by_uid = {pydicom.dcmread(file).SOPInstanceUID: str(file) for file in files}
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(by_uid))  # as Slicer's DICOM module does
    assert source_files(volume, by_uid.get) == list(by_uid.values())
    other = write_series(tmp_path / "other", body(3)) / "000.dcm"
    with pytest.raises(CaptioningError, match="load it again"):
        source_files(volume, lambda uid: str(other))


def test_another_web_server_is_not_taken_for_monai_label() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        with pytest.raises(CaptioningError, match="does not answer as MONAI Label"):
            Backend(f"http://127.0.0.1:{served.server_port}").check()
        served.shutdown()


def test_what_the_server_refuses_is_one_sentence(place: Scene, server: LabelServer, studies: Path) -> None:
    volume = place.load(studies / "volume.nii.gz")
    view = place.look("Axial", voxel_to_ras(volume, (40, 48, 8)))
    with pytest.raises(CaptioningError, match="num_beams is 99"):
        CaptionLogic(place.mrml, Backend(server.url)).caption(volume, view, num_beams=99)
    with pytest.raises(CaptioningError, match="is MONAI Label started"):
        CaptionLogic(place.mrml, Backend("http://127.0.0.1:9")).caption(volume, view)
    with pytest.raises(CaptioningError, match="no server address"):
        Backend("localhost")


def test_a_wrong_python_or_bundle_is_said(bundle_root: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="not the captioning bundle"):
        LocalWorker(sys.executable, tmp_path).check()
    with pytest.raises(CaptioningError, match="cannot be started"):
        LocalWorker(tmp_path / "python", bundle_root).check()


def test_monai_labels_own_module_has_nothing_to_press(server: LabelServer, studies: Path) -> None:
    """What that module would list (its selectors' types) is empty; its client gets the caption as JSON and no mask."""
    from monailabel.client import MONAILabelClient

    client = MONAILabelClient(server.url)
    models = client.info()["models"]
    listed = ("segmentation", "detection", "deepgrow", "deepedit", "scribbles")
    assert [name for name, model in models.items() if model["type"] in listed] == []
    assert models["caption"]["type"] == "others"
    reply = server.caption("picture", **QUICK)
    assert "caption" in reply and reply["label_names"] == {}
