"""MONAI Label's own sign-in in front of the app: no token, no answer; a realm's token with the role, an answer."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from label_server import LabelServer, label_server, missing_label_server

pytestmark = pytest.mark.skipif(missing_label_server() is not None, reason=str(missing_label_server()))


@pytest.fixture(scope="module")
def realm() -> Iterator[tuple[str, object]]:
    """What the server asks of a Keycloak realm: its public key. Gives the address and the private key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    key = "".join(private.public_key().public_bytes(encoding, form).decode().strip().splitlines()[1:-1])

    class Realm(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"public_key": key}).encode())

        def log_message(self, *_: object) -> None:
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}/realms/monailabel", private
    served.shutdown()


@pytest.fixture(scope="module")
def closed(realm: tuple[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelServer]:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "studies").mkdir()
    environment = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm[0]}
    with label_server(folder / "studies", folder, environment=environment) as server:
        yield server


def token(private: object, *roles: str, seconds: int = 60) -> dict[str, str]:
    import jwt

    claims = {"preferred_username": "reader", "realm_access": {"roles": roles}, "exp": time.time() + seconds}
    return {"Authorization": f"Bearer {jwt.encode(claims, private, algorithm='RS256')}"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/infer/caption?image=x"),
        ("GET", "/info/"),
        ("GET", "/datastore/"),
        ("PUT", "/datastore/label?image=x&tag=caption"),
        ("POST", "/train/caption"),
        ("POST", "/activelearning/least_certain"),
        ("PUT", "/session/"),
    ],
)
def test_without_a_token_nothing_is_answered(closed: LabelServer, method: str, path: str) -> None:
    assert closed.ask(method, path).status_code == 401


def test_only_a_token_of_the_realm_with_the_role_is_let_in(closed: LabelServer, realm: tuple[str, object]) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    user = token(realm[1], "monailabel-user")
    assert closed.ask("GET", "/info/", headers=user).json()["models"]["caption"]["type"] == "others"
    assert closed.ask("POST", "/infer/caption?image=x", headers=user).status_code == 404
    assert closed.ask("PUT", "/datastore/label?image=x&tag=caption", headers=user).status_code in (403, 422)
    assert closed.ask("GET", "/info/", headers=token(realm[1], "visitor")).status_code == 403
    assert closed.ask("GET", "/info/", headers=token(realm[1], "monailabel-user", seconds=-60)).status_code == 401
    forged = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert closed.ask("GET", "/info/", headers=token(forged, "monailabel-user")).status_code == 401


def test_slicer_says_that_a_token_is_needed(closed: LabelServer, realm: tuple[str, object], tmp_path: Path) -> None:
    from ImageCaptioningLib.captioners.server import LabelServer as Backend
    from ImageCaptioningLib.errors import CaptioningError

    with pytest.raises(CaptioningError, match="token"):
        Backend(closed.url).check()
    header = token(realm[1], "monailabel-user")["Authorization"].removeprefix("Bearer ")
    assert Backend(closed.url, token=header).check() == "bundle"
