"""A resident captioner over HTTP, with a page: the model is loaded once and stays warm.

    python -m scripts.commands.serve [--root FOLDER] [--port 8765] [--open]

* ``GET /``: the page: drop an image, read its caption and what it rests on.
* ``POST /caption``: ``{"image": "path in FOLDER", "window": ..., "slice": ..., "explain": true, ...}``, the bytes of an
  image file, or a form with one; gives the record of ``captions.jsonl`` and more, or its making as server-sent events.
* ``GET /health``, ``/metrics``, ``/docs``, ``/openapi.json``.

Listens on this computer only unless told otherwise, and has no encryption: before others can reach it, put a proxy that
has it in front, and set a token. Reads nothing outside ``--root`` but what clients sent. Wrong requests get a 4xx and
one sentence.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from scripts import BUNDLE
from scripts.commands.body_limits import Sizes
from scripts.commands.connections import PatientProtocol
from scripts.commands.ending import ending_in_order
from scripts.commands.service.app import create_app
from scripts.commands.service.guard import Rules
from scripts.commands.service.service import Service
from scripts.errors import InputError, show_sentences
from scripts.given_values import typed_settings
from scripts.kernels.allocator import keep_memory
from scripts.kernels.free_cores import follow_free_cores
from scripts.predictor import CaptionPredictor

MAX_CONNECTIONS = 256


class CaptionServer:
    """Serves one predictor.

    Args:
        predictor: loaded and ready.
        root: the only folder that paths in requests may name.
        host, port: 0 takes a free port.
        host_names: further names that the service goes by.
        token: which requests must bear; "" asks for none.
        waiting: as many requests may wait.
        batch: as many that ask for the same are captioned together.
        seconds: within which a request is answered, once its body is there.

    Raises:
        InputError: the address cannot be served.
    """

    def __init__(
        self,
        predictor: CaptionPredictor,
        *,
        root: str | Path,
        host: str = "127.0.0.1",
        port: int = 0,
        host_names: Sequence[str] = (),
        token: str = "",
        waiting: int = 32,
        batch: int = 8,
        seconds: float = 300.0,
    ) -> None:
        self.predictor = predictor
        self.root = Path(root).resolve()
        self._socket = _listening(host, port)
        self.server_address = self._socket.getsockname()
        self._ended = threading.Event()
        self._ended.set()
        self.service = Service(predictor, self.root, waiting=waiting, batch=batch, seconds=seconds)
        sizes = Sizes()
        rules = Rules(listening=host, host_names=tuple(host_names), token=token)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                create_app(self.service, rules, sizes),
                http=PatientProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=5,
                limit_concurrency=MAX_CONNECTIONS,
            )
        )

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def serve_forever(self) -> None:
        """Answer until `shutdown`, or until the process is told to end."""
        self._ended.clear()
        try:
            self._uvicorn.run(sockets=[self._socket])
        finally:
            self._ended.set()

    def stop(self) -> None:
        """End `serve_forever` when the requests under way are answered."""
        self._uvicorn.should_exit = True

    def shutdown(self) -> None:
        """`stop`, and wait for it; from another thread than that of `serve_forever`."""
        self.stop()
        self._ended.wait()

    def server_close(self) -> None:
        """Close the socket and forget what clients sent."""
        self._socket.close()
        self.service.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model and serve until interrupted."""
    options = _parser().parse_args(arguments)
    show_sentences()
    keep_memory(arenas=1)
    follow_free_cores()
    with tempfile.TemporaryDirectory(prefix="msmedcap_") as empty:
        root = Path(empty) if options.root is None else options.root
        if not root.is_dir():
            raise InputError(f"{root} is no folder: --root is the folder whose images are served")
        _listening(options.host, options.port).close()  # told before the model is loaded
        predictor = CaptionPredictor.from_bundle(
            options.bundle_root, config=["configs/inference.json", *options.config], **typed_settings(options.set)
        )
        server = CaptionServer(
            predictor,
            root=root,
            host=options.host,
            port=options.port,
            host_names=options.host_name,
            token=_token(options.token_file),
            waiting=options.waiting,
            batch=options.batch,
            seconds=options.seconds,
        )
        _announce(server, options.open)
        try:
            with ending_in_order(server.stop):
                server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
        finally:
            server.server_close()
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: the address is not free, or is none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OverflowError:
        raise InputError(f"--port {port} is none: it is a whole number from 0 to 65535") from None
    except OSError as error:  # Python adds the address to a reason that is the system's
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise InputError(
            f"{host}:{port} cannot be served ({reason}): choose another --port, with make demo DEMO_PORT"
        ) from error


def _announce(server: CaptionServer, browser: bool) -> None:
    host = str(server.server_address[0])
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        print("note: others can reach this service, unencrypted: put a proxy in front of it", file=sys.stderr)
    print(f"ready: {server.url}", flush=True)
    if browser:
        threading.Timer(0.5, webbrowser.open, [server.url]).start()


def _token(file: Path | None) -> str:
    """The token that requests must bear: of a file, or of the environment."""
    if file is None:
        return os.environ.get("MSMEDCAP_TOKEN", "")
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise InputError(f"{file}: cannot be read: --token_file is a text file with the token") from None
    if not token:
        raise InputError(f"{file}: is empty: --token_file is a text file with the token")
    return token


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.commands.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="the only folder that is read, beside what clients send")
    parser.add_argument("--host", default="127.0.0.1", help="an IP address; 0.0.0.0 lets the network in, unprotected")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default %(default)s)")
    parser.add_argument("--host_name", "--host-name", action="append", default=[], help="a name that a proxy passes on")
    parser.add_argument("--token_file", type=Path, help="file with the token of requests; or MSMEDCAP_TOKEN")
    parser.add_argument("--waiting", type=int, default=32, help="as many requests may wait")
    parser.add_argument("--batch", type=int, default=8, help="as many that ask for the same are captioned together")
    parser.add_argument("--seconds", type=float, default=300.0, help="within which a request is answered")
    parser.add_argument("--open", action="store_true", help="open the page in a browser, where there is one")
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    parser.add_argument("--config", action="append", default=[], help="an overlay, relative to the bundle")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a config value")
    return parser


if __name__ == "__main__":
    sys.exit(main())
