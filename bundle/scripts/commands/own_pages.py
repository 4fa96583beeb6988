"""Check that a browser asks for a page of this service, and not for one of another site.

Any page can make the browser that shows it send requests to this computer. It cannot read the replies, but what a
request starts is started: a training, a batch of captions. Browsers say which site's page a request comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

FOREIGN = "a page of another site may not ask this service"


def from_own_page(method: str, headers: Mapping[str, str], others: Collection[str] = ()) -> bool:
    """Whether a request came from a page of this service, from a program, or from somebody who follows a link to it.

    Args:
        method: of the request.
        headers: of the request, with ``get`` by lower-case name.
        others: further origins that may ask, such as ``https://viewer.example``.
    """
    origin = headers.get("origin")
    if origin is not None and origin in others:
        return True
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return followed and method in ("GET", "HEAD") and origin is None
    return origin is None or origin.partition("://")[2] == headers.get("host", "")
