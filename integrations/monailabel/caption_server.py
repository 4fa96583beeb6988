"""MONAI Label's server with what this app adds: requests side by side, series to download, no upload that stays behind,
and a sentence instead of a traceback.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import tarfile
import tempfile
import types
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
from fastapi import APIRouter, BackgroundTasks, Depends, File, Form, HTTPException, Request, UploadFile
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse
from lib.local_store import ENDINGS
from monailabel.app import app
from monailabel.config import settings
from monailabel.endpoints import datastore, model
from monailabel.endpoints.infer import ResultType
from monailabel.endpoints.user import auth
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from starlette.responses import Response

from scripts.commands.body_limits import BodyLimits, Sizes
from scripts.commands.host_names import names_this_computer
from scripts.commands.own_pages import FOREIGN, from_own_page
from scripts.predictor import InputError, WeightsError
from scripts.reading.data_files import refuse_detached

__all__ = ["app"]

logger = logging.getLogger(__name__)
NOT_FOR_CLIENTS = ("image", "session", "model", "label", "was_sent")
"""What the server itself puts into a request: ``params`` may not replace it."""
MAX_UPLOAD, UPLOAD_SECONDS = 2**31, 600.0
"""Bytes of an image, session or label that is sent, and the time within which all of it must have come."""
router = APIRouter()

# MONAI Label 0.8.5 decodes tokens without naming an algorithm, which PyJWT 2 refuses: no token would ever be let in.
# RS256 is what Keycloak signs with; naming it also keeps out tokens that name a weaker one.
auth.jwt = types.SimpleNamespace(decode=functools.partial(jwt.decode, algorithms=["RS256"]))


def _own_origins() -> list[str]:
    """Web origins that a browser may call from: this server's own pages, and those that were named."""
    port = settings.MONAI_LABEL_SERVER_PORT
    return [f"http://127.0.0.1:{port}", f"http://localhost:{port}", *_named("MSMEDCAP_ORIGINS")]


def _named(variable: str) -> list[str]:
    """What an environment variable lists, separated by commas."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


# A session may be sent as a tar file: no member or link of it may lead out of the session's folder (PEP 706).
tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)

for middleware in app.user_middleware:
    if middleware.cls is CORSMiddleware:  # MONAI Label allows every page that a browser shows; a study is not for all
        middleware.kwargs["allow_origins"] = _own_origins()
app.add_middleware(BodyLimits, sizes=Sizes(max_upload=MAX_UPLOAD, seconds=UPLOAD_SECONDS), key="detail")


@app.middleware("http")
async def no_way_up(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse paths that climb: MONAI Label's proxy would reach what lies beside a DICOMweb server's own services."""
    if ".." in request.url.path.split("/") or ".." in request.scope["path"].split("/"):
        return _say(404, "there is nothing at a path with '..' in it")
    return await call_next(request)


@app.middleware("http")
async def own_pages_only(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what a page of another site makes a browser send: what it starts would run, whoever reads the reply."""
    if not from_own_page(request.method, request.headers, _named("MSMEDCAP_ORIGINS")):
        return _say(403, f"{FOREIGN}; MSMEDCAP_ORIGINS names origins that may")
    return await call_next(request)


@app.middleware("http")
async def known_hosts_only(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what a page of another site sends under a name that it made point here."""
    host = request.headers.get("host", "")
    if not names_this_computer(host, os.environ.get("MSMEDCAP_HOST", "127.0.0.1"), _named("MSMEDCAP_HOSTS")):
        return _say(403, "the Host header does not name this computer; MSMEDCAP_HOSTS adds the name of a proxy")
    return await call_next(request)


def _say(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": " ".join(sentence.split())}, status_code=status)


@app.exception_handler(InputError)
async def bad_input(request: Request, error: InputError) -> Response:
    return _say(400, str(error))


@app.exception_handler(ImageNotFoundException)
@app.exception_handler(LabelNotFoundException)
async def not_found(request: Request, error: MONAILabelException) -> Response:
    return _say(404, error.msg)


@app.exception_handler(MONAILabelException)
async def refused(request: Request, error: MONAILabelException) -> Response:
    return _say(400, error.msg)


@app.exception_handler(json.JSONDecodeError)
async def no_json(request: Request, error: json.JSONDecodeError) -> Response:
    return _say(400, "params or info is not valid JSON; give an object such as {}")


@app.exception_handler(WeightsError)
async def no_network(request: Request, error: WeightsError) -> Response:
    return _say(503, str(error))


@app.exception_handler(Exception)
async def failed(request: Request, error: Exception) -> Response:
    logger.exception("request to %s failed", request.url.path)
    return _say(500, f"the server failed ({type(error).__name__}); its log says more")


@router.post("/infer/{name}", include_in_schema=False)
def infer(
    name: str,
    image: str = "",
    session_id: str = "",
    params: str = Form("{}"),
    file: UploadFile = File(None),  # noqa: B008
    output: ResultType | None = None,
    user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)),  # noqa: B008
) -> dict[str, Any]:
    """As MONAI Label's own route, but in a thread: the server goes on answering while an image is captioned."""
    asked = json.loads(params or "{}")
    if not isinstance(asked, dict):
        raise InputError("params is no JSON object; give one such as {}")
    if file is None and not image and not session_id:
        raise InputError("the request names no image; give image=ID, session_id=ID or a file")
    if output not in (None, ResultType.json, ResultType.all):
        raise InputError(f"output {output.value!r} is not what a caption has; leave it out or give 'json'")
    instance = app_instance()
    sessions = instance.sessions()
    session = sessions.get_session(session_id) if session_id and sessions is not None else None
    if session_id and session is None:
        raise HTTPException(404, f"there is no session {session_id!r}; it may have expired")
    wanted = {name: value for name, value in asked.items() if name not in NOT_FOR_CLIENTS}
    with _received(file) as sent:
        named = session.image if session else sent or image
        was_sent = bool(session or sent)  # a path that a client wrote names nobody's upload
        return instance.infer({**wanted, "model": name, "image": named, "was_sent": was_sent})["params"]


@contextlib.contextmanager
def _received(file: UploadFile | None) -> Iterator[str]:
    """Path of an upload, which is gone afterwards whatever happened; "" without one."""
    if file is None:
        yield ""
        return
    ending = next((e for e in ENDINGS if (file.filename or "").lower().endswith(e)), "")
    with tempfile.TemporaryDirectory(dir=os.environ.get("MSMEDCAP_UPLOADS")) as folder:
        path = Path(folder) / f"image{ending}"
        with path.open("wb") as kept:
            shutil.copyfileobj(file.file, kept)
        try:
            refuse_detached(str(path))
        except InputError as error:  # the client's name for the image, not where it lies here
            raise InputError(str(error).replace(str(path), "the image sent")) from error
        yield str(path)


@router.get("/datastore/image", include_in_schema=False)
def download_image(
    background_tasks: BackgroundTasks,
    image: str,
    user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)),  # noqa: B008
) -> FileResponse:
    """As MONAI Label's own route, and a zip of its files where the image is a DICOM series."""
    path = Path(app_instance().datastore().get_image_uri(image) or os.devnull)
    if path.is_file():
        return FileResponse(path, media_type=get_mime_type(str(path)), filename=path.name)
    if not path.is_dir():
        raise ImageNotFoundException(f"there is no image {image!r} among the studies")
    handle, packed = tempfile.mkstemp(suffix=".zip", dir=os.environ.get("MSMEDCAP_UPLOADS"))
    background_tasks.add_task(os.unlink, packed)
    with os.fdopen(handle, "wb") as target, zipfile.ZipFile(target, "w") as archive:
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                archive.write(file, file.name)
    return FileResponse(packed, media_type="application/zip", filename=f"{path.name}.zip")


def _cleaning(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of MONAI Label, which removes an upload once its answer is sent: also where there is none."""

    @functools.wraps(function)
    def cleaned(background_tasks: BackgroundTasks, *arguments: Any, **named: Any) -> Any:
        try:
            return function(background_tasks, *arguments, **named)
        except BaseException:
            for task in background_tasks.tasks:
                task.func(*task.args, **task.kwargs)
            raise

    return cleaned


datastore.add_image = _cleaning(datastore.add_image)
datastore.save_label = _cleaning(datastore.save_label)
model.update_model = _cleaning(model.update_model)
app.router.routes[:0] = router.routes
