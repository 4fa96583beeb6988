"""Limits of request bodies: their bytes, and the time within which all of one must have come."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LATE = "the body did not come in time: send it at once"


@dataclass(frozen=True)
class Sizes:
    """What a body must fit.

    Attributes:
        max_json, max_upload: bytes of a JSON body, and of any other.
        seconds: within which it must have come, however steadily it does.
    """

    max_json: int = 2**20
    max_upload: int = 2**28
    seconds: float = 120.0


class BodyLimits:
    """ASGI middleware: a body that is too long or too slow gets 413 or 408, whatever the application makes of its end.

    Args:
        app: the application.
        sizes: see `Sizes`.
        key: of the sentence in the reply's JSON.
    """

    def __init__(self, app: ASGIApp, sizes: Sizes = Sizes(), *, key: str = "error") -> None:  # noqa: B008 (frozen)
        self.app, self.sizes, self.key = app, sizes, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(scope, receive, self.sizes)

        async def sending(message: Message) -> None:
            if body.refused is None or body.answered:
                body.answered = True
                await send(message)

        try:
            if body.refused is None:
                await self.app(scope, body.receive, sending)
        except _EndedError:
            pass
        finally:
            if body.refused is not None and not body.answered:
                status, sentence = body.refused
                reply = JSONResponse({self.key: sentence}, status, {"connection": "close"})
                await reply(scope, receive, send)


class _EndedError(Exception):
    """The body goes no further; what the application makes of it is not sent."""


class _Body:
    """One body on its way in."""

    def __init__(self, scope: Scope, receive: Receive, sizes: Sizes) -> None:
        headers = Headers(scope=scope)
        is_json = headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        self.limit = sizes.max_json if is_json else sizes.max_upload
        self.ends = time.monotonic() + sizes.seconds
        self.got, self.is_whole, self.answered = 0, False, False
        self.refused: tuple[HTTPStatus, str] | None = None
        self._receive = receive
        said = headers.get("content-length", "")
        if said.isdigit() and int(said) > self.limit:
            self._refuse_length()

    async def receive(self) -> Message:
        if self.is_whole:
            return await self._receive()
        if self.refused is not None:
            raise _EndedError
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self.ends - time.monotonic()))
        except TimeoutError:
            self.refused = (HTTPStatus.REQUEST_TIMEOUT, LATE)
            raise _EndedError from None
        self.got += len(message.get("body", b""))
        self.is_whole = not message.get("more_body", False)
        if self.got > self.limit:
            self._refuse_length()
            raise _EndedError
        return message

    def _refuse_length(self) -> None:
        sentence = f"a body of this kind has at most {self.limit} bytes"
        self.refused = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)
