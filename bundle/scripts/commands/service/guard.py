"""Guard of the service: the checks that every request passes before a route sees it.

Of a request the Host header, the site that a browser says it comes from, and the token are looked at; of its body the
size and the time it takes. A line of the log holds method, route, status and time: no address, no name, no query.
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.commands.host_names import names_this_computer
from scripts.commands.service.meters import Meters
from scripts.commands.service.refusals import RefusedError

__all__ = ["Guard", "Rules"]

OPEN = ("/", "/health", "/docs", "/openapi.json")
"""What needs no token: it tells nothing of an image. Files of the page neither."""
PAGE = "/page/"
HOST = "the Host header does not name this computer; --host-name adds a name"
LATE = "the body did not come in time: send it at once"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Rules:
    """What requests must fit.

    Attributes:
        listening: the address that the service is bound to.
        host_names: further names that it goes by, such as that of a proxy before it.
        token: which requests must bear; "" asks for none.
        max_json, max_upload: bytes of a JSON body, and of any other.
        seconds: within which a body must have come.
    """

    listening: str = "127.0.0.1"
    host_names: Collection[str] = ()
    token: str = ""
    max_json: int = 2**20
    max_upload: int = 2**28
    seconds: float = 120.0


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        rules: see `Rules`.
        meters: counts requests.
    """

    def __init__(self, app: ASGIApp, rules: Rules, meters: Meters) -> None:
        self.app, self.rules, self.meters = app, rules, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if status >= HTTPStatus.BAD_REQUEST:
                    headers["connection"] = "close"  # the body may not have been read
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, self._limited(scope, receive), sending)
        except RefusedError as refused:
            await JSONResponse({"error": str(refused)}, refused.status)(scope, receive, sending)
        except Exception:  # answered already, by the application's handler; its text may quote a header
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        finally:
            route = getattr(scope.get("route"), "path", "-")
            self.meters.request(scope["method"], route, status)
            print(f"{scope['method']} {route} {status} {time.perf_counter() - began:.3f}s", file=sys.stderr)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not names_this_computer(headers.get("host", ""), self.rules.listening, self.rules.host_names):
            raise RefusedError(HTTPStatus.FORBIDDEN, HOST)
        if not _same_site(headers):
            raise RefusedError(HTTPStatus.FORBIDDEN, "a page of another site may not ask this service")
        path = scope["path"]
        if self.rules.token and path not in OPEN and not path.startswith(PAGE):
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self.rules.token.encode()):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "a token is needed: send Authorization: Bearer TOKEN")

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """``receive`` that ends a body which is too long or takes too long."""
        headers = Headers(scope=scope)
        is_json = headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        limit = self.rules.max_json if is_json else self.rules.max_upload
        said = headers.get("content-length", "")
        if said.isdigit() and int(said) > limit:
            raise _too_long(limit)
        got, ends, whole = 0, time.monotonic() + self.rules.seconds, False

        async def receiving() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError:
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, LATE) from None
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > limit:
                raise _too_long(limit)
            return message

        return receiving


def _too_long(limit: int) -> RefusedError:
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of this kind has at most {limit} bytes")


def _same_site(headers: Headers) -> bool:
    """Whether a request came from this service's own page, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")
