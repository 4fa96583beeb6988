"""A DICOMweb client that trusts no server: replies end after so many bytes and seconds, come from the server that was
asked, and reach the disk under names that this side chose.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from dicomweb_client.web import _Transaction
from monailabel.datastore.dicom import DICOMwebClientX
from requests.adapters import HTTPAdapter

__all__ = ["CarefulClient", "DistrustError", "Limits", "careful_session", "save_parts"]

CHUNK = 2**20
LONGEST_HEAD = 2**16
ACCEPT = 'multipart/related; type="application/dicom"'


class DistrustError(requests.RequestException):
    """What a server does that no DICOMweb server should; the text is a sentence for users."""


@dataclass(frozen=True)
class Limits:
    """What one reply may take.

    Attributes:
        json_bytes: of a search; a series takes about 1 KB.
        series_bytes, instances: of a series.
        seconds: of any reply from its first byte to its last.
        silence: seconds without a byte.
        attempts: where a server says that it is busy.
    """

    json_bytes: int = 2**25
    series_bytes: int = 2**33
    instances: int = 20_000
    seconds: float = 900.0
    silence: float = 30.0
    attempts: int = 2


class CarefulClient(DICOMwebClientX):
    """MONAI Label's client within `Limits`.

    Args:
        url: of the server.
        limits: of its replies.
        user, password: where the server asks for them.
        more: of ``DICOMwebClient``.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Limits = Limits(),
        user: str = "",
        password: str = "",
        **more: Any,  # noqa: B008
    ) -> None:
        session = careful_session(limits)
        if user and password:
            session.auth = (user, password)
        super().__init__(url=url, session=session, timeout=(limits.silence, limits.silence), **more)
        self.limits = limits
        self.set_http_retry_params(max_attempts=limits.attempts)

    def save_series(self, study: str, series: str, folder: Path) -> int:
        """Write the files of a series to ``folder`` as they come, under numbers; returns how many.

        Raises:
            requests.RequestException: the server does not answer, or not as DICOMweb has it.
        """
        url = self._get_series_url(_Transaction.RETRIEVE, study, series)
        with self._http_get(url, headers={"Accept": ACCEPT}, stream=True) as response:
            kind, boundary = _kind_of(response.headers.get("content-type", ""))
            chunks = response.iter_content(CHUNK)
            if kind == "application/dicom":
                with (folder / "00001.dcm").open("xb") as file:
                    file.writelines(chunks)
                count = 1
            elif kind == "multipart/related" and boundary:
                count = save_parts(chunks, boundary, folder, self.limits.instances)
            else:
                raise DistrustError(f"the DICOMweb server sent {kind or 'something'} where DICOM files were asked for")
        if not count or not all(_is_dicom(file) for file in folder.iterdir()):
            raise DistrustError("the DICOMweb server sent something else than the DICOM files of the series")
        return count


def careful_session(limits: Limits) -> requests.Session:
    """A session whose replies are bounded and whose redirects stay with the server."""
    session = _OneServerSession()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter(limits))
    session.max_redirects = 5
    return session


def save_parts(chunks: Iterable[bytes], boundary: bytes, folder: Path, most: int) -> int:
    """Write each part of a multipart body to a file of its own while it comes; returns how many there were.

    Raises:
        DistrustError: it ends too early, or has too many parts or a part whose head does not end.
    """
    delimiter, data, count = b"\r\n--" + boundary, bytearray(b"\r\n"), 0
    file: BinaryIO | None = None
    in_head = False
    try:
        for chunk in chunks:
            data += chunk
            while True:
                at = data.find(b"\r\n\r\n" if in_head else delimiter)
                if in_head and data[:2] == b"--":
                    return count
                if at < 0:
                    break
                if in_head:
                    count += 1
                    file = (folder / f"{count:05d}.dcm").open("xb")
                    del data[: at + 4]
                elif file is not None:
                    file.write(data[:at])
                    file.close()
                if not in_head:
                    del data[: at + len(delimiter)]
                in_head = not in_head
            if count > most or in_head and len(data) > LONGEST_HEAD:
                break
            if not in_head and len(data) > len(delimiter):
                if file is not None:
                    file.write(data[: -len(delimiter)])
                del data[: -len(delimiter)]
    finally:
        if file is not None:
            file.close()
    raise DistrustError(f"the DICOMweb server's reply is no whole series of at most {most:,} files")


class _OneServerSession(requests.Session):
    """Follows redirects within one server only: a password or a study must not go where a reply says."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            here, there = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
            if (here.scheme, here.netloc) != (there.scheme, there.netloc):
                raise DistrustError("the DICOMweb server sends on to another address: give that one, if you trust it")
        return target


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        super().__init__()

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        response = super().build_response(req, resp)
        most = self.limits.series_bytes if req.headers.get("Accept") == ACCEPT else self.limits.json_bytes
        response.iter_content = lambda *_: _bounded(resp, most, self.limits.seconds)  # ``content`` reads it, too
        return response


def _bounded(raw: urllib3.HTTPResponse, most: int, seconds: float) -> Iterator[bytes]:
    """The body, unpacked, as its bytes come: a read of a whole chunk would wait for a server that trickles."""
    left, ends = most, time.monotonic() + seconds
    try:
        while chunk := raw.read1(CHUNK, decode_content=True):
            left -= len(chunk)
            if left < 0:
                raise DistrustError(f"the DICOMweb server's reply does not end after {most:,} bytes")
            if time.monotonic() > ends:
                raise DistrustError(f"the DICOMweb server's reply does not end after {seconds:g} s")
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(type(error).__name__) from None


def _kind_of(header: str) -> tuple[str, bytes]:
    kind, *parameters = (part.strip() for part in header.split(";"))
    named = {name.lower(): value.strip('"') for name, _, value in (part.partition("=") for part in parameters)}
    return kind.lower()[:100], named.get("boundary", "").encode()


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"
