"""A DICOMweb server that means harm gets one sentence: no file outside the cache, memory and time stay bounded."""

from __future__ import annotations

import http.server
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from label_server import missing_label_server

if missing_label_server() is not None:
    pytest.skip(str(missing_label_server()), allow_module_level=True)

from lib.dicomweb_client import CarefulClient, Limits  # noqa: E402
from lib.dicomweb_store import DicomWebCaptionStore  # noqa: E402
from made_files import body, ct_slice, save  # noqa: E402

from bounds import within  # noqa: E402
from scripts.errors import InputError  # noqa: E402
from scripts.reading import read_case  # noqa: E402

SERIES, STUDY = "1.2.3.4", "1.2.3"
QUICK = Limits(json_bytes=2**22, series_bytes=2**24, instances=500, seconds=1.0, silence=2.0, attempts=1)
Reply = Callable[[http.server.BaseHTTPRequestHandler], None]


class Hostile(http.server.ThreadingHTTPServer):
    """Answers searches with ``found`` and retrievals with ``sent``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.found: Reply = listing(SERIES)
        self.sent: Reply = lambda handler: handler.send_error(404)
        self.asked: list[str] = []

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        self.server.asked.append(self.path)
        (self.server.found if "?" in self.path or self.path.endswith("/series") else self.server.sent)(self)

    def log_message(self, *_: object) -> None:
        pass


def reply(content: bytes, kind: str = "application/dicom+json", **headers: str) -> Reply:
    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return send


def endless(begin: bytes, again: bytes, kind: str = "application/dicom+json", pause: float = 0.0) -> Reply:
    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(begin)
        stop = threading.Event()
        while not stop.wait(pause):
            handler.wfile.write(again)
            handler.wfile.flush()

    return send


def listing(series: object, study: object = STUDY) -> Reply:
    item = {"0020000E": {"vr": "UI", "Value": [series]}, "0020000D": {"vr": "UI", "Value": [study]},
            "00080060": {"vr": "CS", "Value": ["CT"]}}  # fmt: skip
    return reply(json.dumps([item]).encode())


def redirect(target: str) -> Reply:
    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return send


def multipart(*parts: bytes, end: bytes = b"\r\n--x--\r\n") -> bytes:
    return b"".join(b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts) + end


KIND = 'multipart/related; type="application/dicom"; boundary="x"'
BOMB = zlib.compress(b"[" + b" " * 2**28, 1, 31)


@pytest.fixture
def server() -> Iterator[Hostile]:
    made = Hostile()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def store_of(server: Hostile, cache: Path) -> DicomWebCaptionStore:
    client = CarefulClient(f"http://127.0.0.1:{server.server_port}", limits=QUICK)
    return DicomWebCaptionStore(client=client, search_filter={}, cache_path=str(cache))


SEARCHES = {
    "endless": (endless(b"[", b"{}," * 30_000), "does not end after"),
    "trickling": (endless(b"[", b" ", pause=0.05), "does not end after 1 s"),
    "silent": (endless(b"[", b"", pause=60), "did not answer"),
    "gzip bomb": (reply(BOMB, Content_Encoding="gzip"), "does not end after"),
    "html": (reply(b"<html>log in</html>", "text/html"), "no DICOM JSON"),
    "no list": (reply(b"7"), "something else than a list"),
    "no series": (reply(b'["a"]'), "something else than a list"),
    "deep": (reply(b"[" * 100_000 + b"]" * 100_000), "cannot be read"),
    "bad UTF-8": (reply(b'[{"0020000E": {"Value": ["\xff\xfe"]}}]'), ""),
    "another host": (redirect("http://localhost.example/series"), "sends on to another address"),
    "another port": (redirect("http://127.0.0.1:1/series"), "sends on to another address"),
    "another scheme": (redirect("file:///etc/passwd"), "sends on to another address"),
    "round and round": (redirect("/series?again"), "did not answer"),
    "values of a wrong kind": (
        reply(b'[{"0020000E": {"Value": [{"a": 1}]}}, {"0020000E": [1]}, {"0020000E": null}]'),
        "",
    ),
}


@pytest.mark.parametrize("what", SEARCHES)
def test_a_search_that_means_harm_is_one_sentence(server: Hostile, tmp_path: Path, what: str) -> None:
    server.found, says = SEARCHES[what]
    store = store_of(server, tmp_path / "cache")
    with within(bytes=2**30):
        if says:
            with pytest.raises(InputError, match=says) as refused:
                store.list_images()
            assert "\n" not in str(refused.value)
        else:
            assert store.list_images() == []


@pytest.mark.parametrize("uid", ["../../../tmp/x", "/etc/cron.d/x", "1.2/../../x", "1.2\x00", "1" * 65, "", 7.5, None])
def test_names_that_lead_elsewhere_are_left_out(server: Hostile, tmp_path: Path, uid: object) -> None:
    store = store_of(server, tmp_path / "cache")
    server.found = listing(uid)
    assert store.list_images() == []
    server.found, before = listing(SERIES, study=uid), sorted(tmp_path.rglob("*"))
    assert store.find(SERIES) == ""
    assert not [path for path in server.asked if "?" not in path and path != "/series"]  # nothing was asked of them
    assert sorted(tmp_path.rglob("*")) == before


RETRIEVALS = {
    "endless part": (endless(multipart(b"", end=b""), b"x" * 2**20, KIND), "does not end after"),
    "endless head": (endless(b"\r\n--x\r\nA: ", b"x" * 2**16, KIND), "no whole series"),
    "endless parts": (endless(b"", multipart(b"x", end=b"") * 1000, KIND), "no whole series|does not end after"),
    "trickling": (endless(b"\r\n--x\r\n", b"A", KIND, pause=0.05), "does not end after 1 s"),
    "cut short": (reply(multipart(b"x" * 200, end=b""), KIND), "no whole series"),
    "no boundary": (reply(b"x", "multipart/related"), "sent multipart/related where DICOM files"),
    "html": (reply(b"<html>", "text/html"), "sent text/html where DICOM files"),
    "html in the part": (reply(multipart(b"<html>" * 50), KIND), "something else than the DICOM files"),
    "nothing": (reply(multipart(), KIND), "something else than the DICOM files"),
    "another host": (redirect("http://elsewhere.example/"), "sends on to another address"),
    "an error": (lambda handler: handler.send_error(500), "did not answer"),
}


@pytest.mark.parametrize("what", RETRIEVALS)
def test_a_retrieval_that_means_harm_leaves_nothing(server: Hostile, tmp_path: Path, what: str) -> None:
    server.sent, says = RETRIEVALS[what]
    store = store_of(server, tmp_path / "cache")
    with within(bytes=2**28), pytest.raises(InputError, match=says):
        store.find(SERIES)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".dcm" or path.name.startswith("series.")]


@pytest.mark.parametrize("size", [1, 7, 2**20])
def test_a_series_is_kept_byte_by_byte_under_names_of_our_own(server: Hostile, tmp_path: Path, size: int) -> None:
    """However the body is cut on its way, and whatever a part's UID is."""
    files = []
    for number, uid in enumerate(("1.2.3.4.5", "../../../../tmp/evil")):
        dataset = ct_slice(body()[number])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.InstanceNumber, dataset.SeriesInstanceUID = number + 1, SERIES
        files.append(save(tmp_path / f"{number}.dcm", dataset).read_bytes())
    content = multipart(*files)

    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", KIND)
        handler.end_headers()
        for at in range(0, len(content), size if size > 1 else 8191):
            handler.wfile.write(content[at : at + (size if size > 1 else 8191)])

    server.sent = send if size != 7 else reply(files[1], "application/dicom")
    store = store_of(server, tmp_path / "cache")
    folder = Path(store.find(SERIES))
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert kept == ({"00001.dcm": files[1]} if size == 7 else {"00001.dcm": files[0], "00002.dcm": files[1]})
    assert read_case(folder / "00001.dcm").pixels.shape[-2:] == body()[0].shape
    assert folder.parent.parent == tmp_path / "cache" or tmp_path / "cache" in folder.parents
