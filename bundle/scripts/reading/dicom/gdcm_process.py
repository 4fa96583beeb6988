"""A pydicom decoding plugin that runs GDCM in a separate process (`gdcm_worker`), and the choice of plugin a syntax."""

from __future__ import annotations

import atexit
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydicom import uid
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner

from scripts.reading.dicom.gdcm_worker import REQUEST

LABEL = "gdcm-apart"
TIMEOUT = 8.0
"""Seconds after which a decode is given up."""
DECODER_DEPENDENCIES = {
    uid.JPEGExtended12Bit: ("python-gdcm>=3.0.10",),
    uid.JPEGLossless: ("python-gdcm>=3.0.10",),
    uid.JPEGLosslessSV1: ("python-gdcm>=3.0.10",),
}
_PLUGINS = {
    uid.JPEGBaseline8Bit: "pillow", uid.JPEGExtended12Bit: LABEL, uid.JPEGLossless: LABEL, uid.JPEGLosslessSV1: LABEL,
    uid.JPEGLSLossless: "pyjpegls", uid.JPEGLSNearLossless: "pyjpegls", uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg", uid.HTJ2KLossless: "pylibjpeg", uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg", uid.RLELossless: "pylibjpeg",
}  # fmt: skip
_lock = threading.Lock()
_running: list[tuple[int, subprocess.Popen[bytes]]] = []


def plugin_for(syntax: uid.UID | None) -> str:
    """Name of the pydicom plugin that decodes a transfer syntax here; "" leaves it to pydicom.

    Left alone, pydicom would try GDCM first, inside this process.
    """
    return _PLUGINS.get(syntax, "") if syntax is not None else ""


def is_available(syntax: str) -> bool:
    """Asked by pydicom when the plugin is added."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame_apart(frame: bytes, runner: DecodeRunner) -> bytes:
    """pydicom's plugin interface: an encoded frame -> its decoded bytes.

    Raises:
        ValueError: GDCM refuses the frame, dies of it, or takes over `TIMEOUT` seconds.
    """
    names = f"{runner.photometric_interpretation} {runner.transfer_syntax}".encode("ascii")
    planar = runner.planar_configuration if runner.samples_per_pixel > 1 else 0
    numbers = (runner.rows, runner.columns, runner.samples_per_pixel, runner.bits_allocated, runner.bits_stored,
               runner.pixel_representation, planar, len(names), len(frame))  # fmt: skip
    with _lock:
        process = _process()
        try:
            decoded = _exchange(process, REQUEST.pack(*numbers) + names + frame)
        except (OSError, EOFError, struct.error):
            _stop()
            decoded = b""
    if not decoded:
        raise ValueError("GDCM could not decode the frame")
    return decoded


def _process() -> subprocess.Popen[bytes]:
    """The running worker; a new one after a crash, and in a forked process, whose pipes are its parent's."""
    if _running and (_running[0][0] != os.getpid() or _running[0][1].poll() is not None):
        _running.clear()
    if not _running:
        worker = Path(__file__).with_name("gdcm_worker.py")
        process = subprocess.Popen([sys.executable, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, bufsize=0)  # fmt: skip
        _running.append((os.getpid(), process))
    return _running[0][1]


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    view = memoryview(request)
    while view:
        view = view[process.stdin.write(view) :]
    deadline = time.monotonic() + TIMEOUT
    length = struct.unpack("<I", _receive(process.stdout, 4, deadline))[0]
    return _receive(process.stdout, length, deadline)


def _receive(stream: Any, count: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while count > 0:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = stream.read(min(count, 2**20))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
    return b"".join(parts)


@atexit.register
def _stop() -> None:
    for owner, process in _running:
        if owner == os.getpid():
            process.kill()
            process.wait()
    _running.clear()


def _register() -> None:
    for syntax in DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame_apart"))


_register()
