"""What integrators rely on: events, forms, HEAD, metrics, tokens, other sites, limits, the queue and its batches."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asked_service import ask, form, post, running
from made_files import body, ct_slice, save
from staged import WORDS, Staged

from scripts.commands.body_limits import Sizes
from scripts.commands.connections import PatientProtocol
from scripts.commands.options import CaptionOptions, from_query, options_of
from scripts.commands.serve import CaptionServer, main
from scripts.errors import InputError
from scripts.generation import GenerationOptions

HEAD = "POST /caption HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def test_events_tell_steps_words_and_at_last_the_reply(server: CaptionServer) -> None:
    asked = json.dumps({"image": "a.dcm", "explain": True}).encode()
    head = {"Content_Type": "application/json", "Accept": "text/event-stream"}
    reply, content = ask(server, "POST", "/caption", asked, **head)
    assert reply.getheader("content-type").startswith("text/event-stream")
    events = [part.split("\ndata: ") for part in content.decode().strip().split("\n\n")]
    kinds = [kind.removeprefix("event: ") for kind, _ in events]
    assert kinds[0] == "step" and kinds[-1] == "reply" and kinds.count("words") == len(WORDS)
    assert json.loads(events[-2][1]) == " ".join(WORDS)
    whole = json.loads(events[-1][1])
    assert (
        whole["explanation"]["words"] == list(WORDS) and whole == post(server, {"image": "a.dcm", "explain": True})[1]
    )
    _, content = ask(server, "POST", "/caption", b'{"image": "none"}', **head)
    assert json.loads(content)["error"].startswith("none does not exist")


def test_a_form_and_a_query_bring_options(server: CaptionServer, image: Path) -> None:
    content, kind = form([("b.dcm", image.read_bytes())], window="lung", num_beams="2")
    reply, said = ask(server, "POST", "/caption", content, Content_Type=kind)
    found = json.loads(said)
    assert reply.status == 200 and found["image"] == "b.dcm" and found["window"]["name"] == "lung"
    reply, said = ask(
        server, "POST", "/caption?window=bone&explain=true", image.read_bytes(), Content_Type="application/dicom"
    )
    assert json.loads(said)["window"]["name"] == "bone" and json.loads(said)["explanation"]
    reply, said = ask(server, "POST", "/caption?beams=3", image.read_bytes(), Content_Type="application/dicom")
    assert reply.status == 400 and "'beams' is no option" in json.loads(said)["error"]


def test_chunked_bodies_head_compression_and_openapi(server: CaptionServer, image: Path) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    content = image.read_bytes()
    connection.request("POST", "/caption", iter([content[:50], content[50:]]), {"Content-Type": "application/dicom"})
    assert connection.getresponse().status == 200
    for path in ("/", "/health", "/metrics", "/docs"):
        reply, said = ask(server, "HEAD", path)
        assert reply.status == 200 and said == b"" and int(reply.getheader("content-length")) > 0
    assert ask(server, "GET", "/openapi.json", Accept_Encoding="gzip")[0].getheader("content-encoding") == "gzip"
    described = json.loads(ask(server, "GET", "/openapi.json")[1])
    asked = described["paths"]["/caption"]["post"]
    assert {"window", "slice", "explain"} <= {one["name"] for one in asked["parameters"]}
    assert set(asked["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
        "application/octet-stream",
    }
    for page in ("/", "/docs", "/page/main.js", "/page/viewer.js"):
        assert b"https://" not in ask(server, "GET", page)[1]
    assert ask(server, "GET", "/page/..%2fserve.py")[0].status == 404


def test_metrics_count_and_the_log_names_nobody(server: CaptionServer, capfd: pytest.CaptureFixture[str]) -> None:
    post(server, {"image": "a.dcm"})
    post(server, {"image": "Secret^Person.dcm"})
    text = ask(server, "GET", "/metrics")[1].decode()
    assert 'msmedcap_requests_total{method="POST",route="/caption",status="200"} 1.0' in text
    assert 'msmedcap_requests_total{method="POST",route="/caption",status="404"} 1.0' in text
    assert 'msmedcap_step_seconds_count{step="decode"} 1.0' in text and "msmedcap_queue_waiting 0.0" in text
    log = capfd.readouterr().err
    assert "POST /caption 200" in log and "Secret" not in log and "127.0.0.1" not in log


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_log_has_the_place_of_a_failure_and_not_its_text(
    server: CaptionServer, accept: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    who = "^".join(("Secret", "Person"))

    def broken(*_: object) -> None:
        try:
            int(who)
        except ValueError as error:
            raise RuntimeError(f"nothing is known of {who}") from error

    monkeypatch.setattr(server.predictor, "_caption", broken)
    told = ask(
        server, "POST", "/caption", b'{"image": "a.dcm"}', Content_Type="application/json", Accept=accept
    )[1].decode()  # fmt: skip
    assert "an unexpected failure (RuntimeError): see the log of the service" in told
    log = capfd.readouterr().err
    assert "ValueError, raised at:" in log and "RuntimeError, raised at:" in log and "in broken" in log
    assert who not in told and who not in log


def test_other_sites_and_names_are_refused_a_proxy_s_name_and_a_token_are_not(image: Path) -> None:
    server = running(Staged(), image.parent, host_names=["captions.example"], token="word")
    good = {"Authorization": "Bearer word"}
    own = f"127.0.0.1:{server.server_address[1]}"
    assert post(server, {"image": "a.dcm"})[0] == 401
    assert post(server, {"image": "a.dcm"}, Authorization="Bearer wrong")[0] == 401
    assert post(server, {"image": "a.dcm"}, **good)[0] == 200
    assert post(server, {"image": "a.dcm"}, Host="captions.example", **good)[0] == 200
    assert post(server, {"image": "a.dcm"}, Host="evil.example", **good)[0] == 403
    assert post(server, {"image": "a.dcm"}, Origin="http://evil.example", **good)[0] == 403
    assert post(server, {"image": "a.dcm"}, Origin="null", **good)[0] == 403
    assert post(server, {"image": "a.dcm"}, Sec_Fetch_Site="cross-site", **good)[0] == 403
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document", **good}
    assert post(server, {"image": "a.dcm"}, **followed)[0] == 403  # a form that opens in the whole window
    assert ask(server, "GET", "/", **followed)[0].status == 200
    assert post(server, {"image": "a.dcm"}, Origin=f"http://{own}", Sec_Fetch_Site="same-origin", **good)[0] == 200
    assert ask(server, "GET", "/")[0].status == 200 and ask(server, "GET", "/samples")[0].status == 401
    server.shutdown()
    server.server_close()


def test_waiting_requests_are_captioned_together_and_too_many_are_refused(image: Path) -> None:
    predictor = Staged()
    server = running(predictor, image.parent, waiting=6, batch=4)
    predictor.go_on.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, server, {"image": "a.dcm"})
        while not predictor.asked:
            time.sleep(0.01)
        others = [pool.submit(post, server, {"image": "a.dcm"}) for _ in range(5)]
        while server.service.line.waiting < 5:
            time.sleep(0.01)
        status, answer = post(server, {"image": "a.dcm"})
        assert status == 503 and "too many requests wait" in answer["error"]
        predictor.go_on.set()
        assert [one.result()[0] for one in (first, *others)] == [200] * 6
    assert [size for size, *_ in predictor.asked] == [1, 4, 1]
    server.shutdown()
    server.server_close()


def test_work_whose_client_has_left_is_dropped(server: CaptionServer) -> None:
    predictor = server.predictor
    predictor.go_on.clear()
    raw = json.dumps({"image": "a.dcm"}).encode()
    head = HEAD.format(len(raw))
    for _ in range(3):
        with socket.create_connection(server.server_address[:2]) as gone:
            gone.sendall(head.encode() + raw)
            time.sleep(0.3)
    ends = time.monotonic() + 10
    while server.service.under_way and time.monotonic() < ends:
        time.sleep(0.05)
    assert server.service.under_way == 0
    predictor.go_on.set()
    assert post(server, {"image": "a.dcm"})[0] == 200
    assert sum(size for size, *_ in predictor.asked) <= 3  # those that waited were never begun


def test_a_client_that_leaves_within_its_body_is_no_failure(
    server: CaptionServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(server.server_address[:2]) as gone:
        gone.sendall(HEAD.format(1000).encode() + b'{"image": ')
        time.sleep(0.3)
    ends, log = time.monotonic() + 10, ""
    while "POST" not in log and time.monotonic() < ends:
        time.sleep(0.05)
        log += capfd.readouterr().err
    assert "POST /caption 499" in log and "failed" not in log


def test_a_body_that_trickles_or_is_too_long_ends_with_a_sentence(image: Path) -> None:
    server = running(Staged(), image.parent)
    server._uvicorn.config.app.app.sizes = Sizes(seconds=0.5, max_json=100)
    with socket.create_connection(server.server_address[:2]) as slow:
        slow.sendall(HEAD.format(90).encode() + b"{")
        assert b" 408 " in slow.recv(4096)
    reply, said = ask(server, "POST", "/caption", b" " * 101, Content_Type="application/json")
    assert reply.status == 413 and "at most 100 bytes" in json.loads(said)["error"]
    reply, said = ask(server, "POST", "/images", iter([b" " * 101]), Content_Type="application/json")
    assert reply.status == 413 and "at most 100 bytes" in json.loads(said)["error"]  # of a length that nobody said
    assert post(server, {"image": "a.dcm"})[0] == 200
    server.shutdown()
    server.server_close()


def test_connections_that_send_no_whole_head_are_closed(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "seconds", 0.5)
    server = running(Staged(), image.parent)
    head = HEAD.format(2).encode()
    with contextlib.ExitStack() as open_ones:
        silent, slow, again = (
            open_ones.enter_context(socket.create_connection(server.server_address[:2], 20)) for _ in range(3)
        )
        slow.sendall(head[:30])
        again.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in again.recv(65536)
        again.sendall(head[:30])
        for connection in (silent, slow, again):
            while connection.recv(65536):
                pass
    predictor = server.predictor
    predictor.pause = 0.2  # an answer may take its time
    assert post(server, {"image": "a.dcm"})[0] == 200
    server.shutdown()
    server.server_close()


def test_a_request_that_takes_too_long_is_dropped_and_told(image: Path) -> None:
    server = running(Staged(), image.parent, seconds=0.5)
    server.predictor.go_on.clear()
    status, said = post(server, {"image": "a.dcm"})
    assert status == 503 and said["error"] == "not answered within 0.5 s: ask for less, or later"
    _, events = ask(server, "POST", "/caption?explain=false", image.read_bytes(),
                    Accept="text/event-stream", Content_Type="application/dicom")  # fmt: skip
    assert b"not answered within 0.5 s" in events
    server.predictor.go_on.set()
    server.service.seconds = 30.0
    assert post(server, {"image": "a.dcm"})[0] == 200 and server.service.under_way == 0
    server.shutdown()
    server.server_close()


def test_a_link_put_in_the_place_of_a_file_while_it_is_read_is_refused(
    server: CaptionServer, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = save(tmp_path / "secret.dcm", ct_slice(body()[9]))
    real = server.predictor.load

    def swapped(path: str, **reading: object) -> object:
        image.unlink()
        image.symlink_to(secret)
        return real(path, **reading)

    monkeypatch.setattr(server.predictor, "load", swapped)
    status, said = post(server, {"image": "a.dcm"})
    assert status == 403 and "outside the served folder" in said["error"] and not server.predictor.asked


@pytest.mark.parametrize(
    "name", ["round", "x" * 5000, "half \ud83d", "nul \0", "a/" * 2000, "", ".", "..", "~", "a.dcm/b"]
)
def test_names_that_no_file_has_are_refused(server: CaptionServer, image: Path, name: str) -> None:
    (image.parent / "round").symlink_to("round")
    status, said = post(server, {"image": name})
    assert 400 <= status < 500 and said["error"] and "\n" not in said["error"]
    assert post(server, {"image": "a.dcm"})[0] == 200


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"image": ' + b'["a",' * 5_000, b'{"a":' * 50_000, b"\xff\xfe",
                                     b"7", b'{"image": {"a": 1}}', b'{"image": 1e999}', b'{"image": NaN}'])  # fmt: skip
def test_json_that_is_deep_or_none_is_refused(server: CaptionServer, content: bytes) -> None:
    reply, said = ask(server, "POST", "/caption", content, Content_Type="application/json")
    assert reply.status == 400 and json.loads(said)["error"]


def test_a_get_with_a_body_is_one_request(server: CaptionServer) -> None:
    """What stands in the body is not read as a second one."""
    inner = b"POST /caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(inner)
    twice = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    twice += b"0\r\n\r\nabc"
    for sent, most in ((head + inner, 1), (twice, 1)):
        with socket.create_connection(server.server_address[:2], 20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert answer.count(b"HTTP/1.1 ") <= most and b"HTTP/1.1 404" not in answer and b"HTTP/1.1 5" not in answer
    assert not server.predictor.asked


def test_health_tells_every_limit(server: CaptionServer) -> None:
    limits = json.loads(ask(server, "GET", "/health")[1])["limits"]
    assert limits == {
        "waiting": 32, "views": 32, "prompt_characters": 2000, "prompt_tokens": 512, "json_bytes": 2**20,
        "upload_bytes": 2**28, "upload_files": 20_000, "head_seconds": 20.0, "body_seconds": 120.0,
        "answer_seconds": 300.0,
    }  # fmt: skip
    status, said = post(server, {"image": ["a.dcm"] * 33})
    assert status == 400 and "at most 32 views" in said["error"]
    status, said = post(server, {"image": "a.dcm", "prompt": "word " * 401})
    assert status == 400 and "at most 2,000 characters" in said["error"]


def test_one_table_of_options_covers_generation_and_says_what_to_give() -> None:
    assert set(GenerationOptions.__dataclass_fields__) <= set(CaptionOptions.model_fields)
    assert from_query({"num_beams": "2", "slice": "0.5", "prompt": "12", "window": "40/400"}).given() == {
        "num_beams": 2, "slice": 0.5, "prompt": "12", "window": "40/400",
    }  # fmt: skip
    for given, words in (
        ({"num_beams": True}, "whole number"), ({"windo": "x"}, "did you mean 'window'"),
        ({"prompt": "x" * 9999}, "2,0"),
        ({"explain": "maybe"}, "'gradient'"), ({"temperature": "hot"}, "at least 0.01"), ({"slice": True}, "an index"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            options_of(given)


def test_the_clients_of_the_guide_work(server: CaptionServer, image: Path) -> None:
    said = subprocess.run([sys.executable, EXAMPLES / "client.py", server.url, image], capture_output=True, text=True)
    assert said.stdout.startswith(" ".join(WORDS)), said.stderr
    if shutil.which("node") is None:
        pytest.skip("node is not on this machine: the JavaScript client was not run")
    said = subprocess.run(["node", EXAMPLES / "client.mjs", server.url, image], capture_output=True, text=True)
    assert said.stdout.startswith(" ".join(WORDS)) and said.stderr.splitlines()[0] == "Axial", said.stderr


def test_an_empty_token_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(" \n")
    monkeypatch.setattr("scripts.commands.serve.CaptionPredictor", type("P", (), {"from_bundle": lambda *a, **k: None}))
    with pytest.raises(InputError, match="is empty"):
        main(["--root", str(tmp_path), "--token_file", str(tmp_path / "token")])
