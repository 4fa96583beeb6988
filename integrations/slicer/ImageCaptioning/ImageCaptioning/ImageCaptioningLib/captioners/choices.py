"""Choice of a captioner, kept in Slicer's settings, and the captioner that it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from ..logic import Backend
from ..setup.installation import Installation
from .server import LabelServer
from .service import CaptionService

SETTINGS = "ImageCaptioning/"
LOCAL, LABEL, SERVICE = "local", "label", "service"
SETUP = ("source", "python", "wheels", "cpu_only")
"""Fields that only the set-up on this computer needs."""
DEFAULT_URL = {LABEL: "http://127.0.0.1:8000", SERVICE: "http://127.0.0.1:8765"}


@dataclass(frozen=True)
class Choice:
    """What the panel's first box holds.

    Attributes:
        mode: `LOCAL`, `LABEL` or `SERVICE`.
        label_url, service_url: addresses of the servers.
        token: for either; never kept.
        certificate: file of the authority that signed the server's certificate, or "".
        source, python, wheels: for the set-up, see :class:`installation.Wish`.
        cpu_only: PyTorch without CUDA.
    """

    mode: str = LOCAL
    label_url: str = DEFAULT_URL[LABEL]
    service_url: str = DEFAULT_URL[SERVICE]
    token: str = ""
    certificate: str = ""
    source: str = ""
    python: str = ""
    wheels: str = ""
    cpu_only: bool = True

    @property
    def url(self) -> str:
        return self.label_url if self.mode == LABEL else self.service_url

    def backend(self, installation: Installation) -> Backend:
        """The captioner of this choice.

        Raises:
            CaptioningError: it is not set up, or the address is none.
        """
        if self.mode == LOCAL:
            return installation.worker()
        kind = LabelServer if self.mode == LABEL else CaptionService
        return kind(self.url, token=self.token, certificate=self.certificate)


def load_choice(value: Callable[[str, Any], Any]) -> Choice:
    """The choice in Slicer's settings; ``value(key, default)`` reads one."""
    choice = Choice()
    for field in fields(Choice):
        if field.name != "token":
            found = value(SETTINGS + field.name, getattr(choice, field.name))
            if isinstance(getattr(choice, field.name), bool):
                found = str(found).lower() in ("1", "true")
            choice = replace(choice, **{field.name: found})
    return choice


def keep_choice(choice: Choice, set_value: Callable[[str, Any], None]) -> None:
    """Write it to Slicer's settings; a token is a secret and is not written."""
    for field in fields(Choice):
        if field.name != "token":
            set_value(SETTINGS + field.name, getattr(choice, field.name))


def forget_setup(remove: Callable[[str], None]) -> None:
    """Take what the set-up was asked for out of Slicer's settings; ``remove(key)`` removes one."""
    for name in SETUP:
        remove(SETTINGS + name)
