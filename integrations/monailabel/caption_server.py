"""MONAI Label's server with what this app adds: requests side by side, and a sentence instead of a traceback."""

from __future__ import annotations

import functools
import json
import logging
import os
import types

import jwt
from fastapi import APIRouter, BackgroundTasks, Depends, File, Form, HTTPException, Request, UploadFile
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.app import app
from monailabel.config import settings
from monailabel.endpoints.infer import ResultType, run_inference
from monailabel.endpoints.user import auth
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import Response

from scripts.predictor import InputError, WeightsError

__all__ = ["app"]

logger = logging.getLogger(__name__)
NOT_FOR_CLIENTS = ("image", "session", "model", "label")
"""What the server itself puts into a request: ``params`` may not replace it."""
router = APIRouter()

# MONAI Label 0.8.5 decodes tokens without naming an algorithm, which PyJWT 2 refuses: no token would ever be let in.
# RS256 is what Keycloak signs with; naming it also keeps out tokens that name a weaker one.
auth.jwt = types.SimpleNamespace(decode=functools.partial(jwt.decode, algorithms=["RS256"]))


def _own_origins() -> list[str]:
    """Web origins that a browser may call from: this server's own pages, and those that were named."""
    port = settings.MONAI_LABEL_SERVER_PORT
    named = [origin.strip() for origin in os.environ.get("MSMEDCAP_ORIGINS", "").split(",") if origin.strip()]
    return [f"http://127.0.0.1:{port}", f"http://localhost:{port}", *named]


for middleware in app.user_middleware:
    if middleware.cls is CORSMiddleware:  # MONAI Label allows every page that a browser shows; a study is not for all
        middleware.kwargs["allow_origins"] = _own_origins()


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


@router.post("/infer/{model}", include_in_schema=False)
def infer(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: str = Form("{}"),
    file: UploadFile = File(None),  # noqa: B008
    label: UploadFile = File(None),  # noqa: B008
    output: ResultType | None = None,
    user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)),  # noqa: B008
) -> object:
    """As MONAI Label's own route, but in a thread: the server goes on answering while an image is captioned."""
    asked = json.loads(params or "{}")
    if not isinstance(asked, dict):
        raise InputError("params is no JSON object; give one such as {}")
    if file is None and not image and not session_id:
        raise InputError("the request names no image; give image=ID, session_id=ID or a file")
    if session_id and app_instance().sessions().get_session(session_id) is None:
        raise HTTPException(404, f"there is no session {session_id!r}; it may have expired")
    if output not in (None, ResultType.json, ResultType.all):
        raise InputError(f"output {output.value!r} is not what a caption has; leave it out or give 'json'")
    clean = json.dumps({name: value for name, value in asked.items() if name not in NOT_FOR_CLIENTS})
    return run_inference(background_tasks, model, image, session_id, clean, file, None, output)


app.router.routes[:0] = router.routes
