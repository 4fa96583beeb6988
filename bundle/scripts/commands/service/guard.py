"""Guard of the service: the checks that every request passes before a route sees it.

Of a request the Host header, the site that a browser says it comes from, and the token are looked at. A line of the log
holds method, route, status and time: no address, no name, no query.
"""

from __future__ import annotations

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
from scripts.commands.own_pages import FOREIGN, from_own_page
from scripts.commands.service.meters import Meters
from scripts.commands.service.refusals import RefusedError

OPEN = ("/", "/health", "/docs", "/openapi.json")
"""What needs no token: it tells nothing of an image. Files of the page neither."""
PAGE = "/page/"
HOST = "the Host header does not name this computer; --host-name adds a name"
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
    """

    listening: str = "127.0.0.1"
    host_names: Collection[str] = ()
    token: str = ""


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
            await self.app(scope, receive, sending)
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
        if not from_own_page(scope["method"], headers):
            raise RefusedError(HTTPStatus.FORBIDDEN, FOREIGN)
        path = scope["path"]
        if self.rules.token and path not in OPEN and not path.startswith(PAGE):
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self.rules.token.encode()):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "a token is needed: send Authorization: Bearer TOKEN")
