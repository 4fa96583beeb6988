"""`RefusedError`: a request that gets a status and one sentence."""

from __future__ import annotations

from http import HTTPStatus


class RefusedError(Exception):
    """A request that gets a status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status = status

    def __str__(self) -> str:
        return " ".join(self.args[1].split())
