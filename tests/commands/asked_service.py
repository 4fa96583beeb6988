"""A service over a captioner without a network, and what clients send to it."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

from staged import Staged

from scripts.commands.serve import CaptionServer


def running(predictor: Staged, root: Path, **more: object) -> CaptionServer:
    server = CaptionServer(predictor, root=root, **more)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def ask(server: CaptionServer, method: str, path: str, content: bytes = b"", **headers: str):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    return reply, reply.read()


def post(server: CaptionServer, value: object, **headers: str):
    reply, content = ask(
        server, "POST", "/caption", json.dumps(value).encode(), Content_Type="application/json", **headers
    )
    return reply.status, json.loads(content)


def form(files: list[tuple[str, bytes]], **fields: str) -> tuple[bytes, str]:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields.items()]
    for name, content in files:
        head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + b"--x--\r\n", "multipart/form-data; boundary=x"
