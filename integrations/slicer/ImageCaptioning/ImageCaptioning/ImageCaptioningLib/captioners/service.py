"""Captions by the bundle's HTTP service (``serve``), on this computer or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from ..errors import CaptioningError
from ..images.pixels import read_png
from ..words import _

SECONDS = 300


class CaptionService:
    """The bundle's own service.

    Args:
        url: such as ``http://127.0.0.1:8765``.
        token: bearer token, where a proxy before the service asks for one.
        certificate: file with the authority that signed the server's certificate; the system's own by default.
        seconds: how long an answer may take.
    """

    reports = False
    name = "service"

    def __init__(self, url: str, *, token: str = "", certificate: str = "", seconds: float = SECONDS) -> None:
        self.url = url.strip().rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise CaptioningError(
                _("'{url}' is no server address: give one such as http://127.0.0.1:8765").format(url=url)
            )
        self._seconds = seconds
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Bearer {token}"} if token else {})
        self._session.verify = certificate or True

    def check(self) -> str:
        """The model version.

        Raises:
            CaptioningError: no service answers at the address.
        """
        told = self._json("GET", "/health")
        if told.get("status") != "ready":
            raise self._another()
        return str(told.get("model_version", ""))

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        """Caption a picture, which the service keeps for an hour: the regions of its words are drawn from it."""
        handed = self._json("POST", "/images", params={"name": file.name}, data=file.read_bytes())
        try:
            image = handed["images"][0]["id"]
        except (KeyError, IndexError, TypeError):
            raise self._another() from None
        return self._json("POST", "/caption", json={"image": image, **options})

    def region(self, caption: str, word: int) -> Any:
        """SAM's region of a word of a caption: bool ``[s, s]`` over the network's square.

        Args:
            caption: the reply's ``id``.
            word: its place among the explained words.
        """
        reply = self._ask("GET", f"/captions/{caption}/region/{word}")
        if reply.headers.get("content-type") != "image/png":
            self._object(reply)  # says why there is none
            raise self._another()
        return read_png(reply.content) > 127

    def cancel(self) -> None:
        """Stop waiting for an answer: what is asked next goes over new connections."""
        self._session.close()

    def close(self) -> None:
        self._session.close()

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        return self._object(self._ask(method, path, **more))

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            return self._session.request(method, self.url + path, timeout=self._seconds, **more)
        except requests.exceptions.SSLError:
            raise CaptioningError(
                _("the certificate of {url} is not trusted: name its authority's file").format(url=self.url)
            ) from None
        except requests.RequestException as error:
            kind = type(error).__name__
            raise CaptioningError(
                _("no answer from {url} ({kind}): is the captioning service started?").format(url=self.url, kind=kind)
            ) from None

    def _object(self, reply: requests.Response) -> dict[str, Any]:
        """The reply's JSON object; a refusal becomes its sentence."""
        try:
            found = reply.json()
        except requests.exceptions.JSONDecodeError:
            found = None
        if reply.status_code in (401, 403) and not isinstance(found, dict):
            raise CaptioningError(
                _("{url} asks for a token that allows this: sign in and enter it").format(url=self.url)
            )
        if not isinstance(found, dict):
            raise self._another()
        if reply.status_code >= 400:
            said = found.get("error") or found.get("detail")
            failed = _("the service failed (HTTP {code}); see its log").format(code=reply.status_code)
            raise CaptioningError(said if isinstance(said, str) else failed)
        return found

    def _another(self) -> CaptioningError:
        return CaptioningError(_("{url} is not the captioning service: check the address").format(url=self.url))
