"""Check that a web request was meant for this computer.

A page in a browser can make a name of its own point to 127.0.0.1 (DNS rebinding) and so reach a service that listens
there only; its requests carry that name in the Host header.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "")


def names_this_computer(host: str, listening: str, others: Collection[str] = ()) -> bool:
    """Whether a service may answer a request with this Host header: any header where it listens beyond loopback.

    Args:
        host: the header, such as ``localhost:8000``.
        listening: the address or name that the service is bound to.
        others: further names that it goes by, such as that of a proxy before it.
    """
    if not _is_loopback(listening):
        return True
    name = (host if host.endswith("]") else host.rsplit(":", 1)[0]).lower()
    return name in (*_LOOPBACK, listening, *(other.lower() for other in others))


def _is_loopback(listening: str) -> bool:
    try:
        return ipaddress.ip_address(listening).is_loopback
    except ValueError:
        return listening == "localhost"
