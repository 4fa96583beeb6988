"""Server mode: captions by MONAI Label, corrections back to it."""

from __future__ import annotations

import email.message
import hashlib
import io
import ipaddress
import json
import shutil
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

import requests

from ..errors import CaptioningError
from ..jobs import CancelledError, Progress
from ..words import _
from .training import GOES_ON, failure, how_far

TASK = "caption"
SECONDS = 300
ALREADY_RUNNING = 429
"""What MONAI Label answers where a training runs already."""


class LabelServer:
    """A MONAI Label server that runs the captioning app.

    Args:
        url: such as ``http://127.0.0.1:8000``.
        token: bearer token where the server asks for one.
        certificate: file with the authority that signed the server's certificate; the system's own by default.
        seconds: how long an answer may take.
    """

    reports = False
    name = "label"

    def __init__(self, url: str, *, token: str = "", certificate: str = "", seconds: float = SECONDS) -> None:
        self.url = url.strip().rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise CaptioningError(
                _("'{url}' is no server address: give one such as http://127.0.0.1:8000").format(url=url)
            )
        self._seconds = seconds
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Bearer {token}"} if token else {})
        self._session.verify = certificate or True

    def check(self) -> str:
        """The active model version.

        Raises:
            CaptioningError: no server answers, or it has no captioning task.
        """
        task = self._json("GET", "/info/").get("models", {}).get(TASK)
        if task is None:
            raise CaptioningError(
                _("{url} runs another MONAI Label app: start this one with 'make label'").format(url=self.url)
            )
        return str(task.get("active", ""))

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        """Caption a picture; see ``scripts.commands.replies.CaptionReply``."""
        files = {"file": (f"slice{file.suffix}", file.read_bytes()), "params": (None, json.dumps(options))}
        return self._json("POST", f"/infer/{TASK}", files=files)

    def send(self, label: dict[str, Any], image_id: str, png: Path) -> str:
        """Save a corrected caption: for the server's own image where it has one, else with the picture as a new image.

        Args:
            label: ``caption``, and ``plane``, ``slice`` and ``window`` of the slice where it is one of the volume's.
            image_id: the server's id of the whole volume, or "".
            png: the picture that was captioned.

        Returns:
            the id of the image that has the caption now.
        """
        if image_id and label.get("slice") is not None:
            saved = self._put_label(image_id, label, may_fail=True)
            if saved:
                return image_id
        content = png.read_bytes()
        name = label["picture_id"]
        self._ask("PUT", "/datastore/image", params={"image": name}, files={"file": ("slice.png", content)})
        kept = {key: value for key, value in label.items() if key not in ("slice", "plane", "window", "options")}
        self._put_label(name, kept)
        return name

    def next_image(self) -> dict[str, Any]:
        """What the server wants reviewed next: ``id``, ``path``, ``confidence``; empty when nothing is left."""
        return self._json("POST", "/activelearning/least_certain", json={})

    def fetch(self, offered: dict[str, Any], folder: Path) -> Path:
        """The image that :meth:`next_image` offered: its own path if the server is this computer, else a download."""
        path = Path(str(offered.get("path") or "."))
        if self._is_this_computer() and path.is_absolute() and path.exists():
            return path
        return self.download(offered["id"], folder)

    def download(self, image_id: str, folder: Path) -> Path:
        """Fetch an image: one file, or the folder of a DICOM series, which the server sends as a zip.

        Images of one name are kept apart: each has a folder of its own below ``folder``.
        """
        reply = self._ask("GET", "/datastore/image", params={"image": image_id})
        own = folder / hashlib.sha256(f"{self.url}\n{image_id}".encode()).hexdigest()[:24]
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        if reply.headers.get("content-type") != "application/zip":
            path = own / _file_name(reply, image_id)
            path.write_bytes(reply.content)
            return path
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            archive.extractall(own)
        return own

    def _is_this_computer(self) -> bool:
        """Whether the address is a loopback one: only then is a path of the server's a path here."""
        host = urllib.parse.urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def train(self, progress: Progress, seconds: float = 2.0) -> dict[str, Any]:
        """Fine-tune on the reviewed captions and wait for the end; the report of the new version.

        A training that runs already is followed instead: that of a colleague, or of this panel before it was closed.

        Args:
            progress: told how far the training is; cancelling it stops the server's training, if it began here.
            seconds: between two looks.

        Raises:
            CaptioningError: the training cannot start, failed, or was stopped by another client.
        """
        began_here = self._start_training()
        try:
            while (state := self._json("GET", "/train/")).get("status") in GOES_ON:
                progress.text, progress.fraction = how_far(state)
                progress.wait(seconds)
        except CancelledError:
            if began_here:
                self._ask("DELETE", "/train/")
            raise
        if state.get("status") == "STOPPED":
            raise CaptioningError(_("the training was stopped on the server"))
        if state.get("status") != "DONE":
            raise CaptioningError(_("the training failed: {reason}").format(reason=failure(state)))
        return self._json("GET", "/info/").get("train_stats", {}).get(TASK, {})

    def _start_training(self) -> bool:
        """Whether it began now; not where one runs already."""
        try:
            self._json("POST", f"/train/{TASK}", json={})
        except _RefusedError as refused:
            if refused.status != ALREADY_RUNNING:
                raise
            return False
        return True

    def cancel(self) -> None:
        """Stop waiting for an answer: what is asked next goes over new connections."""
        self._session.close()

    def _put_label(self, image_id: str, label: dict[str, Any], *, may_fail: bool = False) -> bool:
        sent = {key: value for key, value in label.items() if key != "picture_id"}
        files = {"label": ("caption.json", json.dumps(sent, ensure_ascii=False).encode("utf-8"))}
        query = {"image": image_id, "tag": TASK}
        try:
            self._ask("PUT", "/datastore/label", params=query, files=files)
        except _RefusedError as refused:
            if may_fail and refused.status == 404:
                return False
            raise
        return True

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            found = self._ask(method, path, **more).json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CaptioningError(
                _("{url} does not answer as MONAI Label does: check the address").format(url=self.url)
            )
        return found

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            reply = self._session.request(method, self.url + path, timeout=self._seconds, **more)
        except requests.exceptions.SSLError:
            raise CaptioningError(
                _("the certificate of {url} is not trusted: name its authority's file").format(url=self.url)
            ) from None
        except requests.RequestException as error:
            kind = type(error).__name__
            raise CaptioningError(
                _("no answer from {url} ({kind}): is MONAI Label started?").format(url=self.url, kind=kind)
            ) from None
        if reply.status_code in (401, 403):
            raise CaptioningError(
                _("{url} asks for a token that allows this: sign in and enter it").format(url=self.url)
            )
        if reply.status_code >= 400:
            raise _RefusedError(reply.status_code, _sentence(reply))
        return reply

    def close(self) -> None:
        self._session.close()


class _RefusedError(CaptioningError):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def _file_name(reply: requests.Response, default: str) -> str:
    """The name that the server gives a file, in either spelling (RFC 6266), without any folder."""
    message = email.message.Message()
    message["content-disposition"] = reply.headers.get("content-disposition", "")
    return Path((message.get_filename() or default).replace("\\", "/")).name or "image"


def _sentence(reply: requests.Response) -> str:
    try:
        detail = reply.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = ""
    return (
        detail
        if isinstance(detail, str) and detail
        else _("the server failed (HTTP {code}); see its log").format(code=reply.status_code)
    )
