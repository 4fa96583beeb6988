"""Images and kept captions for the page: upload, list, look at slices, SAM's region of a word, documents."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from PIL import Image
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile

from scripts.commands.service.documents import KINDS, document
from scripts.commands.service.library import Handed
from scripts.commands.service.refusals import RefusedError
from scripts.commands.service.service import Service, hide
from scripts.commands.service.uploads import MAX_FILES
from scripts.errors import InputError

NO_STORE = {"Cache-Control": "no-store"}


class Listed(BaseModel):
    """An image that may be asked for."""

    id: str
    name: str


class Images(BaseModel):
    """Images, and the token of the upload that they are part of."""

    images: list[Listed]
    upload: str = ""


class DocumentRequest(BaseModel):
    """The caption as a person left it."""

    text: str
    confirmed: bool = False


def image_router(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()
    _add_uploads(router, service)
    _add_pictures(router, service)
    _add_kept_captions(router, service)
    return router


def _add_uploads(router: APIRouter, service: Service) -> None:
    """What may be asked for, and handing in more of it."""
    library = service.library

    @router.get("/samples")
    def samples() -> Images:
        """Sample images that come with the packages."""
        return _listed(library.samples())

    @router.get("/folder")
    def folder() -> Images:
        """Every case of the served folder."""
        return _listed(library.served())

    @router.post("/images")
    async def upload(request: Request, into: str = "", more: bool = False) -> Images:
        """Keep files (a form, or one file as the body) for an hour; archives are unpacked.

        Many files may come in several requests: ``more`` says that others follow, ``into`` names the upload.
        """
        kept = library.uploads.get(into) if into else library.uploads.new()
        try:
            if request.headers.get("content-type", "").startswith("multipart/form-data"):
                async with request.form(max_files=MAX_FILES, max_fields=4) as form:
                    for value in form.getlist("file"):
                        if isinstance(value, UploadFile):
                            await run_in_threadpool(kept.add, value.filename or "image", value.file)
            else:
                await _raw(kept, request)
            if more:
                return Images(images=[], upload=kept.token)
            cases = await run_in_threadpool(kept.cases)
        except BaseException:
            library.uploads.drop(kept.token)
            raise
        library.uploads.sweep()
        return _listed((library.hand_out(name, path, kept.token) for name, path in cases), kept.token)


def _add_pictures(router: APIRouter, service: Service) -> None:
    """Images to look at."""
    library = service.library

    @router.get("/images/{image}/shown")
    def shown(
        image: str, window: str | None = None, slice: str | None = None, plane: str | None = None, side: int = 0
    ) -> Response:
        """The picture as the network sees it, PNG; of ``side`` pixels where one is given."""
        asked = library.get(image)
        with _told(service, asked):
            pixels, _ = service.predictor.load(asked.path, window=window, slice=slice, plane=plane)
        return _png(pixels if pixels.ndim == 3 else pixels[0], max(0, min(side, 512)))

    @router.get("/images/{image}/stack")
    def stack(image: str, plane: str = "auto") -> dict[str, Any]:
        """How many slices there are, their size and values."""
        asked = library.get(image)
        with _told(service, asked):
            return service.stacks.get(asked.path, plane).describe()

    @router.get("/images/{image}/stack/{number}")
    def one_slice(image: str, number: int, plane: str = "auto") -> Response:
        """The stored values of one slice: ``[C, H, W]``, little-endian, of the type that the stack says."""
        asked = library.get(image)
        with _told(service, asked):
            pixels = service.stacks.get(asked.path, plane).pixels
        if not 0 <= number < len(pixels):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no slice {number}: there are {len(pixels)}")
        return Response(pixels[number].tobytes(), media_type="application/octet-stream", headers=NO_STORE)


def _add_kept_captions(router: APIRouter, service: Service) -> None:
    """What is made of a caption later."""

    @router.get("/captions/{caption}/region/{word}")
    def region(caption: str, word: int) -> Response:
        """What SAM's mask decoder draws around the peak of a word, PNG over the network's square; white is inside."""
        explanation = service.kept_caption(caption).caption.case.explanation
        with service.region_lock:
            regions = None if explanation is None else explanation.regions
        if regions is None or not 0 <= word < len(regions) or not explanation.visible[word]:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no region for this word")
        return _png((regions[word, 0] > 0).float().expand(3, -1, -1))

    @router.post("/captions/{caption}/documents/{kind}")
    def write(caption: str, kind: str, asked: DocumentRequest) -> Response:
        """The caption, edited or confirmed by a person, as a document."""
        kept = service.kept_caption(caption)
        folder = Path(tempfile.mkdtemp(prefix="msmedcap_"))
        try:
            read = {"text": asked.text, "confirmed": asked.confirmed}
            path, media_type = document(kept.caption.case, kept.reply, kind, folder, **read)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, InputError):
                raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, hide(str(error), kept.hidden)) from None
            raise
        return FileResponse(path, media_type=media_type, filename=path.name, headers=NO_STORE,
                            background=BackgroundTask(shutil.rmtree, folder, True))  # fmt: skip


def kinds() -> list[dict[str, str]]:
    """Names and titles of the documents."""
    return [{"kind": name, "title": kind.title} for name, kind in KINDS.items()]


class _told:  # noqa: N801 (reads as a verb)
    """Inside, what is wrong with an image becomes a reply without its path."""

    def __init__(self, service: Service, image: Handed) -> None:
        self.hidden = {image.path.removesuffix("::series"): image.name, f"{service.root}/": ""}

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InputError):
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, hide(str(error), self.hidden)) from None


async def _raw(kept: Any, request: Request) -> None:
    with tempfile.TemporaryFile() as spooled:
        async for chunk in request.stream():
            spooled.write(chunk)
        spooled.seek(0)
        await run_in_threadpool(kept.add, request.query_params.get("name") or "image", spooled)


def _listed(handed: Iterable[Handed], upload: str = "") -> Images:
    return Images(images=[Listed(id=one.id, name=one.name) for one in handed], upload=upload)


def _png(pixels: torch.Tensor, side: int = 0) -> Response:
    """``[3, S, S]`` in [0, 1] as PNG, reduced to ``side`` where it is not 0."""
    values = (pixels.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(values))
    if side:
        picture.thumbnail((side, side))
    picture.save(file, "PNG", compress_level=1)
    return Response(file.getvalue(), media_type="image/png", headers=NO_STORE)
