"""``POST /caption``: an image by name or by its bytes; the reply at once, or step by step as server-sent events."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.datastructures import UploadFile
from starlette.responses import Response

from scripts.commands.options import CaptionOptions, from_query, options_of
from scripts.commands.replies import CaptionReply
from scripts.commands.service.refusals import RefusedError
from scripts.commands.service.service import Asked, Service
from scripts.commands.service.uploads import safe_name
from scripts.errors import InputError, where
from scripts.reading.data_files import refuse_detached

EVENTS = "text/event-stream"
AT_ONCE = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
"""What proxies must not do with events."""
LOOK = 0.25
"""Seconds between two looks whether the client is still there."""
CLIENT_GONE = 499
"""Status in the log, as nginx has it, where the client left before its answer was there."""


def caption_router(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.post("/caption", response_model=CaptionReply, openapi_extra=_described())
    async def caption(request: Request) -> Response:
        """Caption one image, or one case of several views."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        folder = None
        if kind == "application/json" or not kind:
            asked = await _by_name(service, request)
        else:
            folder = tempfile.mkdtemp(prefix="msmedcap_")  # of its own: nothing else lies beside it
            try:
                asked = await _by_bytes(request, kind, Path(folder))
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        if EVENTS in request.headers.get("accept", ""):
            return StreamingResponse(_events(service, asked, folder), media_type=EVENTS, headers=AT_ONCE)
        try:
            return await _whole(service, request, asked)
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    return router


async def _by_name(service: Service, request: Request) -> Asked:
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, 'the body is not JSON: send {"image": "path"}') from None
    if not isinstance(given, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, 'the body is an object such as {"image": "path"}')
    image = given.pop("image", None)
    return service.asked(image, _options(options_of, given))


async def _by_bytes(request: Request, kind: str, folder: Path) -> Asked:
    """A body that is a file, or a form with a file and options; options may also stand in the query."""
    fields: dict[str, str] = dict(request.query_params)
    path = folder / "upload"
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=64) as form:
            for name, value in form.items():
                if isinstance(value, UploadFile):
                    path = folder / safe_name(value.filename or "upload").name
                    with path.open("wb") as file:
                        await asyncio.to_thread(shutil.copyfileobj, value.file, file)
                else:
                    fields[name] = value
        if not path.exists():
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the form has no file: add one, such as -F file=@image.dcm")
    else:
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
        if path.stat().st_size == 0:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the body is empty: send the bytes of an image")
    hidden = {str(path): path.name, f"{folder}/": ""}
    asked = Asked(str(path), path.name, _options(from_query, fields), hidden)
    try:
        refuse_detached(str(path))
    except InputError as error:
        said = str(error).replace(str(path), path.name)
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, said) from None
    return asked


def _options(read: Any, given: Any) -> CaptionOptions:
    try:
        return read(given)
    except InputError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None


async def _whole(service: Service, request: Request, asked: Asked) -> Response:
    """The reply when it is there; the work is dropped when the client has gone."""
    work = asyncio.create_task(service.answer(asked))
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=LOOK)
            if not work.done() and await request.is_disconnected():
                return Response(status_code=CLIENT_GONE)
        return JSONResponse(_plain(work.result()))
    finally:
        work.cancel()


async def _events(service: Service, asked: Asked, folder: str | None) -> AsyncIterator[str]:
    """``step``, ``words``, and at the end ``reply`` or ``error``."""
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def told(kind: str, value: Any) -> None:
        loop.call_soon_threadsafe(said.put_nowait, (kind, value))

    async def work() -> None:
        try:
            told("reply", _plain(await service.answer(asked, told)))
        except RefusedError as refused:
            told("error", {"error": str(refused), "status": int(refused.status)})
        except Exception as error:  # the service goes on, whatever one request provokes
            told("error", {"error": unforeseen(error), "status": 500})

    task = asyncio.create_task(work())
    try:
        while True:
            kind, value = await said.get()
            yield f"event: {kind}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n"
            if kind in ("reply", "error"):
                return
    finally:
        task.cancel()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _plain(reply: CaptionReply) -> dict[str, Any]:
    """The reply's values; ``id`` and ``explanation`` only where there is one."""
    return {k: v for k, v in reply.model_dump().items() if v is not None or k not in ("id", "explanation")}


def unforeseen(error: BaseException) -> str:
    """What is said of a failure that nobody foresaw: its kind; the log has the place."""
    print(f"failed: {where(error)}", end="", file=sys.stderr)
    return f"an unexpected failure ({type(error).__name__}): see the log of the service"


def _described() -> dict[str, Any]:
    """The request body and query for OpenAPI."""
    options = CaptionOptions.model_json_schema()["properties"]
    image = {
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "path in the served folder, id of an image that was handed out, or several views",
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "description": value["description"], "schema": value}
        for name, value in options.items()
    ]
    file = {"type": "string", "format": "binary"}
    contents = {
        "application/json": {"schema": _object("image", image, options)},
        "multipart/form-data": {"schema": _object("file", file, options)},
        "application/octet-stream": {"schema": file},
    }
    return {"parameters": parameters, "requestBody": {"required": True, "content": contents}}


def _object(name: str, kind: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: kind, **options}}
