"""Connections that send the head of a request slowly, or none, are closed: they would take the places of others."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""Within which the head of a request must have come, once its connection is open or its first byte is there."""


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, whose patience ends.

    Between two requests of a connection uvicorn's own ``timeout_keep_alive`` counts, which the first byte stops.
    """

    seconds = HEAD_SECONDS
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        if self._late is None and (before is None or before.response_complete):
            self._wait()
        super().data_received(data)
        if self.cycle is not before or (before is not None and not before.response_complete):
            self._stop_waiting()

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.seconds, self._close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()
