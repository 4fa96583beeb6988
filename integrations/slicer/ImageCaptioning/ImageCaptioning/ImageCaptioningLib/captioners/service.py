"""Captions by the bundle's HTTP service (``serve``), on this computer or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from ..errors import CaptioningError
from ..words import _

SECONDS = 300
TYPES = {".png": "image/png", ".mha": "application/octet-stream"}


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
        self._options: set[str] | None = None

    def check(self) -> str:
        """The model version.

        Raises:
            CaptioningError: no service answers at the address.
        """
        told = self._json("GET", "/health")
        if told.get("status") != "ready":
            raise CaptioningError(_("{url} is not the captioning service: check the address").format(url=self.url))
        return str(told.get("model_version", ""))

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        """Caption a picture, with those options that the service takes beside an uploaded image."""
        taken = {name: value for name, value in options.items() if name in self._taken()}
        query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in taken.items()}
        headers = {"Content-Type": TYPES.get(file.suffix, "application/octet-stream")}
        reply = self._json("POST", "/caption", params=query, data=file.read_bytes(), headers=headers)
        shown = ((reply.get("trace") or {}).get("input") or {}) if isinstance(reply.get("trace"), dict) else {}
        return {"resize": shown.get("resize"), **reply}

    def cancel(self) -> None:
        """Stop waiting for an answer: what is asked next goes over new connections."""
        self._session.close()

    def close(self) -> None:
        self._session.close()

    def _taken(self) -> set[str]:
        """Names of options that ``POST /caption`` takes in its query, as the service itself describes them."""
        if self._options is None:
            try:
                told = self._json("GET", "/openapi.json")
                listed = told["paths"]["/caption"]["post"].get("parameters", [])
                self._options = {item["name"] for item in listed if item.get("in") == "query"}
            except (CaptioningError, KeyError, TypeError):
                self._options = set()  # a service that does not describe itself takes none
        return self._options

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            reply = self._session.request(method, self.url + path, timeout=self._seconds, **more)
            found = reply.json()
        except requests.exceptions.SSLError:
            raise CaptioningError(
                _("the certificate of {url} is not trusted: name its authority's file").format(url=self.url)
            ) from None
        except requests.exceptions.JSONDecodeError:
            found = None
        except requests.RequestException as error:
            kind = type(error).__name__
            raise CaptioningError(
                _("no answer from {url} ({kind}): is the captioning service started?").format(url=self.url, kind=kind)
            ) from None
        if reply.status_code in (401, 403) and not isinstance(found, dict):
            raise CaptioningError(
                _("{url} asks for a token that allows this: sign in and enter it").format(url=self.url)
            )
        if not isinstance(found, dict):
            raise CaptioningError(_("{url} is not the captioning service: check the address").format(url=self.url))
        if reply.status_code >= 400:
            said = found.get("error") or found.get("detail")
            failed = _("the service failed (HTTP {code}); see its log").format(code=reply.status_code)
            raise CaptioningError(said if isinstance(said, str) else failed)
        return found
