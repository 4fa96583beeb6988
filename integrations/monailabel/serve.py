"""Start MONAI Label with the captioning app.

    .venv/bin/python integrations/monailabel/serve.py --studies DIR_OR_DICOMWEB_URL

Every option of ``monailabel start_server`` may follow (``--port``, ``--ssl_certfile``, ``--conf amp_dtype bfloat16``).
Different from it by default: bound to 127.0.0.1, web pages of other origins refused, DICOMweb series of all modalities,
kept as DICOM. Environment variables ``MONAI_LABEL_*`` win over these defaults; ``MSMEDCAP_ORIGINS`` names web
origins, such as a viewer's, that may call the server, separated by commas. Bound to loopback, it answers requests to
127.0.0.1 and localhost only; ``MSMEDCAP_HOSTS`` adds names, such as that of a proxy which passes its own on.
"""

from __future__ import annotations

import difflib
import errno
import functools
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
MAX_CONNECTIONS = "256"


def value_of(arguments: list[str], names: tuple[str, ...], default: str) -> str:
    """What the command line gives for an option, in either spelling (``--port 1`` or ``--port=1``)."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in names:
            return value or (arguments[index + 1] if index + 1 < len(arguments) else default)
    return default


def prepare(arguments: list[str], uploads: str) -> list[str]:
    """Set the environment that the server and its own processes (training, batches) need; returns the command line."""
    bundle = os.environ.setdefault("MSMEDCAP_BUNDLE", str(HERE.parents[1] / "bundle"))
    own = [str(HERE / "compat"), str(HERE), bundle]
    os.environ["PYTHONPATH"] = os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.path[:0] = own
    for name, value in {
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": "{}",
        "MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI": "false",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    os.environ["MSMEDCAP_HOST"] = value_of(arguments, ("-i", "--host"), "127.0.0.1")
    os.environ["MSMEDCAP_UPLOADS"] = os.environ["TMPDIR"] = uploads
    tempfile.tempdir = uploads
    defaults = {("-a", "--app"): str(HERE), ("-i", "--host"): "127.0.0.1", ("--uvicorn_app",): "caption_server:app",
                ("--limit_concurrency",): MAX_CONNECTIONS}  # fmt: skip
    added = [part for names, value in defaults.items() for part in (names[-1], value_of(arguments, names, value))
             if value_of(arguments, names, "") == ""]  # fmt: skip
    return ["monailabel", "start_server", *arguments, *added]


def check(arguments: list[str]) -> None:
    """Refuse what the server could not serve, before it loads anything.

    Raises:
        SystemExit: with one sentence.
    """
    studies = value_of(arguments, ("-s", "--studies"), "")
    if studies and not studies.startswith(("http://", "https://")):
        if not os.path.isdir(studies):
            raise SystemExit(f"error: {studies} is no folder: give --studies a folder or a DICOMweb server's address")
        if not os.access(studies, os.W_OK):
            raise SystemExit(f"error: {studies} is read-only, and captions are kept in it: allow writing, or copy it")
    if value_of(arguments, ("-a", "--app"), "") == str(HERE):
        _check_values(arguments)
    host, port = value_of(arguments, ("-i", "--host"), ""), value_of(arguments, ("-p", "--port"), "8000")
    try:
        socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (ValueError, OverflowError):
        raise SystemExit(f"error: port {port!r} is no number from 0 to 65535") from None
    except OSError as error:
        why = "is in use: stop what runs there, or give" if error.errno == errno.EADDRINUSE else "cannot be had: give"
        raise SystemExit(f"error: port {port} on {host} {why} another one with --port (make label PORT=...)") from None


def _check_values(arguments: list[str]) -> None:
    """Refuse ``--conf`` with a name that the inference config does not have."""
    config = json.loads((Path(os.environ["MSMEDCAP_BUNDLE"]) / "configs" / "inference.json").read_text("utf-8"))
    for option, name in itertools.pairwise(arguments):
        if option in ("-c", "--conf") and name not in (*config, "server_mode"):
            near = difflib.get_close_matches(name, config, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SystemExit(f"error: --conf {name}: configs/inference.json has no value of that name{hint}")


def greet(arguments: list[str]) -> None:
    """Say where the server will be, and where what people write goes."""
    scheme = "https" if value_of(arguments, ("--ssl_certfile",), "") else "http"
    host, port = value_of(arguments, ("-i", "--host"), ""), value_of(arguments, ("-p", "--port"), "8000")
    studies = value_of(arguments, ("-s", "--studies"), "")
    print(f"Captions of {studies} at {scheme}://{host}:{port} in some seconds. For research, not for diagnosis.")
    if not studies.startswith("http"):
        print(f"Captions that people save are kept in {studies}/labels/caption. Stop with Ctrl+C.", flush=True)


def main() -> None:
    uploads = tempfile.mkdtemp(prefix="msmedcap-uploads-")
    try:
        sys.argv = prepare(sys.argv[1:], uploads)
        if not {"-h", "--help"} & set(sys.argv):
            check(sys.argv)
            greet(sys.argv)
        try:
            from monailabel.main import Main
        except ModuleNotFoundError as error:
            raise SystemExit(f"error: {error.name} is not installed: 'make label' installs MONAI Label") from None
        from scripts.commands.ending import ending_in_order

        _close_silent_connections()
        with ending_in_order(lambda: sys.exit(0)):
            Main().run()
    finally:
        shutil.rmtree(uploads, ignore_errors=True)


def _close_silent_connections() -> None:
    """MONAI Label's uvicorn waits forever: connections that send nothing would take the places of others."""
    import monailabel.main
    import uvicorn

    from scripts.commands.connections import PatientProtocol

    monailabel.main.uvicorn = types.SimpleNamespace(run=functools.partial(uvicorn.run, http=PatientProtocol))


if __name__ == "__main__":
    main()
