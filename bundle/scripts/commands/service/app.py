"""`create_app`: the web application: routes, page, and one sentence for whatever goes wrong."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp

from scripts.commands.body_limits import BodyLimits, Sizes
from scripts.commands.connections import HEAD_SECONDS
from scripts.commands.options import MAX_PROMPT
from scripts.commands.service.caption_routes import CLIENT_GONE, caption_router, unforeseen
from scripts.commands.service.guard import Guard, Rules
from scripts.commands.service.image_routes import image_router, kinds
from scripts.commands.service.refusals import RefusedError
from scripts.commands.service.service import MAX_VIEWS, Service
from scripts.commands.service.uploads import MAX_FILES
from scripts.networks.prompts import MAX_TOKENS

PAGE = Path(__file__).resolve().parents[1] / "page"
SHARED = Path(__file__).resolve().parents[2] / "outputs" / "html_assets" / "report.css"
"""Colours, list and words, which the page has in common with the report."""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
THERE_ARE = "there are GET /, /health, /metrics, /docs and POST /caption"


def create_app(service: Service, rules: Rules, sizes: Sizes) -> ASGIApp:
    """The application, guarded by ``rules``, with bodies of ``sizes``."""
    app = FastAPI(
        title="MSMedCap captioning",
        version=str(service.predictor.provenance.get("model_version") or "0"),
        description="Describes medical images in words. For research, not for diagnosis.",
        docs_url=None,  # its page loads a library from elsewhere; GET /docs has one of its own
        redoc_url=None,
    )
    _add_sentences(app)
    _add_state(app, service, sizes)
    app.include_router(caption_router(service))
    app.include_router(image_router(service))
    _add_page(app)
    limited = BodyLimits(GZipMiddleware(app, minimum_size=2_000, compresslevel=1), sizes)
    return Guard(limited, rules, service.meters)


def _add_state(app: FastAPI, service: Service, sizes: Sizes) -> None:
    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    def health() -> dict[str, Any]:
        """What is loaded, and the limits of requests."""
        provenance = service.predictor.provenance
        limits = {"waiting": service.waiting, "views": MAX_VIEWS, "prompt_characters": MAX_PROMPT,
                  "prompt_tokens": MAX_TOKENS, "json_bytes": sizes.max_json, "upload_bytes": sizes.max_upload,
                  "upload_files": MAX_FILES, "head_seconds": HEAD_SECONDS, "body_seconds": sizes.seconds,
                  "answer_seconds": service.seconds}  # fmt: skip
        told = {key: provenance.get(key) for key in ("model_version", "weights")}
        return {"status": "ready", **told, "limits": limits, "waiting": service.line.waiting, "documents": kinds()}

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Counters in Prometheus' text."""
        return PlainTextResponse(service.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page() -> Response:
        return _asset("index.html")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    def docs() -> Response:
        return _asset("docs.html")

    @app.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    def asset(name: str) -> Response:
        return _asset(name)


def _asset(name: str) -> Response:
    path = (SHARED if name == SHARED.name else PAGE / name).absolute()
    if path.parent not in (PAGE, SHARED.parent) or path.suffix not in TYPES or not path.is_file():
        raise RefusedError(HTTPStatus.NOT_FOUND, THERE_ARE)
    return FileResponse(path, media_type=TYPES[path.suffix], headers={"Cache-Control": "no-cache"})


def _add_sentences(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        headers = {"Retry-After": "5"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return JSONResponse({"error": str(error)}, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg'].lower()}"}, HTTPStatus.BAD_REQUEST)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        said = THERE_ARE if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail)
        return JSONResponse({"error": said}, error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": unforeseen(error)}, HTTPStatus.INTERNAL_SERVER_ERROR)
