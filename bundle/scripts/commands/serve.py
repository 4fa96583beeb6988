"""A resident captioner over HTTP: the model is loaded once and stays warm.

    python -m scripts.commands.serve --root FOLDER [--port 8765]

* ``GET /health``: ``{"status": "ready", "model_version": ..., "weights": ...}``.
* ``POST /caption``: ``{"image": "path in FOLDER" or ["several", "views"], "window": ..., "slice": ..., "plane": ...,
  "prompt": ..., "explain": false, "num_beams": 3, ...}`` gives the record of ``captions.jsonl`` with ``seconds``.
* ``POST /caption`` with another content type: the bytes of one image file.

Listens on this computer only unless told otherwise, has no passwords and no encryption: put a proxy that has both in
front of it before others can reach it. Reads nothing outside ``--root``. Wrong requests get a 4xx and one sentence.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scripts.commands.host_names import names_this_computer
from scripts.errors import InputError, WeightsError, show_sentences
from scripts.generation import GenerationOptions
from scripts.given_values import typed_settings
from scripts.kernels.allocator import keep_memory
from scripts.predictor import Caption, CaptionPredictor
from scripts.reading.data_files import refuse_detached
from scripts.reading.sources import files_of

__all__ = ["CaptionServer", "main"]

MAX_JSON = 2**20
MAX_UPLOAD = 2**28
READING = ("window", "slice", "plane", "prompt", "explain")
LIMITS = {"num_beams": 32, "max_new_tokens": 512, "num_return": 1}
DEFAULT_BUNDLE = Path(__file__).resolve().parents[1]


class RefusedError(Exception):
    """A request that gets a status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class CaptionServer(ThreadingHTTPServer):
    """Serves one predictor.

    Args:
        predictor: loaded and ready.
        root: the only folder that paths in requests may name.
        host, port: 0 takes a free port.
    """

    daemon_threads = True
    MAX_WAITING = 32

    def __init__(
        self, predictor: CaptionPredictor, *, root: str | Path, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.predictor = predictor
        self.root = Path(root).resolve()
        self.waiting = threading.BoundedSemaphore(self.MAX_WAITING)
        super().__init__((host, port), _Handler)

    def inside(self, name: Any) -> str:
        """The path of a file or folder of ``root``; links that lead out of it are refused.

        Raises:
            RefusedError: the name is no text, leads out of the root, or names nothing.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "image is a path in the served folder, or a list of paths")
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, f"{name} is outside the served folder: only what lies in it is read"
            )
        if not path.exists():
            raise RefusedError(HTTPStatus.NOT_FOUND, f"{name} does not exist in the served folder")
        if not all(Path(file).resolve().is_relative_to(self.root) for file in files_of(path)):
            raise RefusedError(HTTPStatus.FORBIDDEN, f"{name} holds a link that leads outside the served folder")
        return str(path)

    def caption(self, request: Mapping[str, Any], uploaded: str | None = None) -> dict[str, Any]:
        """The answer to ``POST /caption``.

        Raises:
            RefusedError: the request is wrong, or its image cannot be captioned.
        """
        if uploaded is None:
            names = request.get("image")
            image = [self.inside(name) for name in names] if isinstance(names, list) and names else self.inside(names)
        else:
            names, image = "upload", uploaded
        options = {key: value for key, value in request.items() if key != "image" and value is not None}
        known = {*READING, *GenerationOptions.__dataclass_fields__}
        unknown = [key for key in options if key not in known]
        if unknown:
            listed = ", ".join(sorted(known))
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{unknown[0]!r} is no option: options are {listed}")
        for key, limit in LIMITS.items():
            if not isinstance(options.get(key, 1), int) or options.get(key, 1) > limit:
                raise RefusedError(HTTPStatus.BAD_REQUEST, f"{key} is a whole number, here at most {limit}")
        try:
            if uploaded is not None:
                refuse_detached(uploaded)
            caption = self.predictor.caption(image, **options)
        except (InputError, WeightsError) as error:
            said = str(error).replace(f"{self.root}/", "")
            said = said if uploaded is None else said.replace(uploaded, "upload")
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, said) from None
        except (TypeError, ValueError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"an option has a value of the wrong kind ({error})") from None
        return _answer(caption, names, str(self.root), uploaded)


def _answer(caption: Caption, names: Any, root: str, uploaded: str | None) -> dict[str, Any]:
    """The record with the paths as they were asked for, and the time each step took."""
    text = json.dumps({**caption.record, "image": names})
    text = text.replace(json.dumps(f"{root}/")[1:-1], "")
    if uploaded is not None:
        text = text.replace(json.dumps(uploaded)[1:-1], "upload")
    answer = {**json.loads(text), "seconds": dict(caption.seconds)}
    explanation = caption.case.explanation
    if explanation is not None and not answer["abstained"]:
        answer["explanation"] = {
            "words": list(explanation.words),
            "maps": {branch: stack.tolist() for branch, stack in explanation.maps.items()},
            "share": {branch: share.tolist() for branch, share in explanation.share.items()},
        }
    return answer


class _Handler(BaseHTTPRequestHandler):
    """One request; ``self.server`` is the `CaptionServer`."""

    server: CaptionServer
    protocol_version = "HTTP/1.1"
    server_version = "msmedcap"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self) -> dict[str, Any]:
        if self.path != "/health":
            raise RefusedError(HTTPStatus.NOT_FOUND, "there are GET /health and POST /caption")
        provenance = self.server.predictor.provenance
        return {"status": "ready", **{key: provenance.get(key) for key in ("model_version", "weights")}}

    def _post(self) -> dict[str, Any]:
        if self.path != "/caption":
            raise RefusedError(HTTPStatus.NOT_FOUND, "there are GET /health and POST /caption")
        if not self.server.waiting.acquire(blocking=False):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait: try again later")
        try:
            return self._captioned()
        finally:
            self.server.waiting.release()

    def _captioned(self) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            with tempfile.TemporaryDirectory(prefix="msmedcap_") as folder:  # of its own: nothing else lies beside it
                uploaded = Path(folder) / "upload"
                uploaded.write_bytes(self._body(MAX_UPLOAD))
                return self.server.caption({}, uploaded=str(uploaded))
        try:
            request = json.loads(self._body(MAX_JSON))
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, 'the body is not JSON: send {"image": "path"}') from None
        if not isinstance(request, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, 'the body is an object such as {"image": "path"}')
        return self.server.caption(request)

    def _body(self, limit: int) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "a request has a Content-Length") from None
        if not 0 < length <= limit:
            self.close_connection = True
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has 1 to {limit} bytes, not {length}")
        return self.rfile.read(length)

    def _answer(self, make: Any) -> None:
        if not names_this_computer(self.headers.get("Host", ""), self.server.server_address[0]):
            self._send(HTTPStatus.FORBIDDEN, {"error": "the Host header does not name this computer"})
            return
        try:
            status, answer = HTTPStatus.OK, make()
        except RefusedError as refused:
            status, answer = refused.status, {"error": " ".join(str(refused).split())}
        except Exception as error:  # the service goes on, whatever one request provokes
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = {"error": f"an unexpected failure ({type(error).__name__}): see the log of the service"}
            self.log_error("%s: %s", type(error).__name__, error)
        self._send(status, answer)

    def _send(self, status: HTTPStatus, answer: Mapping[str, Any]) -> None:
        if status >= HTTPStatus.BAD_REQUEST:
            self.close_connection = True  # the body may not have been read
        body = json.dumps(answer, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *values: Any) -> None:
        """One line a request on stderr, without the address of who asked."""
        print(f"{self.command or '-'} {form % values}".replace("\n", " "), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m scripts.commands.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the only folder that is read")
    parser.add_argument("--host", default="127.0.0.1", help="an IP address; 0.0.0.0 lets the network in, unprotected")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--bundle_root", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--config", action="append", default=[], help="an overlay, relative to the bundle")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a config value")
    options = parser.parse_args(arguments)
    show_sentences()
    keep_memory()
    if not options.root.is_dir():
        raise InputError(f"{options.root} is no folder: --root is the folder whose images are served")
    values = typed_settings(options.set)
    predictor = CaptionPredictor.from_bundle(
        options.bundle_root, config=["configs/inference.json", *options.config], **values
    )
    try:
        server = CaptionServer(predictor, root=options.root, host=options.host, port=options.port)
    except OSError as error:
        raise InputError(
            f"{options.host}:{options.port} cannot be served ({error.strerror}): choose another"
        ) from error
    print(f"ready: http://{server.server_address[0]}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
