"""A real Orthanc on a free loopback port, with DICOMweb, for tests. Debian: ``orthanc orthanc-dicomweb``.

with orthanc_server(tmp_path) as orthanc:
    orthanc.store(paths)                    # STOW-RS
    orthanc.find_studies(PatientID="1")     # QIDO-RS
    orthanc.retrieve(study, series, sop)    # WADO-RS -> bytes of a DICOM file
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/lib/orthanc/libOrthancDicomWeb.so")
START_SECONDS = 60


def missing_orthanc() -> str | None:
    """Why Orthanc cannot be started here, or None: for ``pytest.mark.skipif`` and ``pytest.skip``."""
    if _program() is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
    if _plugin() is None:
        return "Orthanc's DICOMweb plugin is not installed (Debian: apt-get install orthanc-dicomweb)"
    return None


@dataclass(frozen=True)
class Orthanc:
    """A running server; ``url`` is its root, ``dicomweb`` the root of its DICOMweb services."""

    url: str

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def store(self, files: Iterable[str | Path | bytes]) -> dict[str, Any]:
        """STOW-RS; returns the DICOM JSON reply. Fails on any instance that the server refuses."""
        boundary = uuid.uuid4().hex
        body = b""
        for file in files:
            data = file if isinstance(file, bytes) else Path(file).read_bytes()
            body += f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        reply = json.loads(self._request("/studies", body, headers))
        reply = reply[0] if isinstance(reply, list) else reply
        failed = reply.get("00081198", {}).get("Value")
        if failed:
            raise AssertionError(f"Orthanc refused instances: {failed}")
        return reply

    def find_studies(self, **query: str) -> list[dict[str, Any]]:
        """QIDO-RS for studies, such as ``PatientID="1"``; DICOM JSON."""
        return self._find("/studies", query)

    def find_series(self, study: str, **query: str) -> list[dict[str, Any]]:
        """QIDO-RS for the series of a study."""
        return self._find(f"/studies/{study}/series", query)

    def find_instances(self, study: str, series: str, **query: str) -> list[dict[str, Any]]:
        """QIDO-RS for the instances of a series."""
        return self._find(f"/studies/{study}/series/{series}/instances", query)

    def retrieve(self, study: str, series: str, instance: str) -> bytes:
        """WADO-RS: the stored DICOM file, byte for byte."""
        path = f"/studies/{study}/series/{series}/instances/{instance}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        reply = self._request(path, None, {"Accept": accept})
        boundary = reply.split(b"\r\n", 1)[0]
        part = reply[: reply.rindex(boundary)].split(b"\r\n\r\n", 1)[1]
        return part[:-2]

    def rendered(self, study: str, series: str, instance: str) -> bytes:
        """WADO-RS ``/rendered``: a JPEG or PNG of an image instance."""
        path = f"/studies/{study}/series/{series}/instances/{instance}/rendered"
        return self._request(path, None, {"Accept": "image/png"})

    def _find(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        text = urllib.parse.urlencode(query)
        return json.loads(self._request(f"{path}?{text}", None, {"Accept": "application/dicom+json"}))

    def _request(self, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(self.dicomweb + path, data=body, headers=headers)
        try:
            with _DIRECT.open(request, timeout=60) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: HTTP {error.code} {error.read()[:500]!r}") from None


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is never reached through a proxy."""


@contextlib.contextmanager
def orthanc_server(folder: str | Path) -> Iterator[Orthanc]:
    """Start Orthanc with its storage in ``folder`` and stop it at the end; ``pytest.skip`` is the caller's business."""
    folder = Path(folder) / "orthanc"
    folder.mkdir(parents=True)
    port = _free_port()
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(_settings(folder, port)))
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen([str(_program()), str(settings)], stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        server = Orthanc(f"http://127.0.0.1:{port}")
        _wait(server, process, folder / "log.txt")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _settings(folder: Path, port: int) -> dict[str, Any]:
    return {
        "Name": "captions",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "HttpServerEnabled": True,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "ConcurrentJobs": 1,
        "DefaultEncoding": "Utf8",
        "Plugins": [_plugin()],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado", "Ssl": False},
    }


def _wait(server: Orthanc, process: subprocess.Popen, log: Path) -> None:
    """Until QIDO answers; raises with the end of Orthanc's log where it does not."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        with contextlib.suppress(OSError, AssertionError):
            server.find_studies(limit="1")
            return
        time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _program() -> str | None:
    found = shutil.which("Orthanc")
    return found or ("/usr/sbin/Orthanc" if Path("/usr/sbin/Orthanc").is_file() else None)


def _plugin() -> str | None:
    return next((path for path in PLUGINS if Path(path).is_file()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
