"""`Service`: what the routes stand on: the predictor behind its queue, the images handed out, the captions kept."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio

from scripts.commands.options import CaptionOptions
from scripts.commands.replies import CaptionReply, reply_of
from scripts.commands.service.inside import inside
from scripts.commands.service.library import PREFIX, Library
from scripts.commands.service.line import Job, Line, Told
from scripts.commands.service.meters import Meters
from scripts.commands.service.refusals import RefusedError
from scripts.commands.service.stacks import Stacks
from scripts.errors import InputError, WeightsError
from scripts.predictor import Caption, CaptionPredictor

MAX_VIEWS = 32
MAX_KEPT = 64
MAX_KEPT_BYTES = 2**28  # of their images, maps and regions: a case of many views is as much as many cases
READERS = 4


@dataclass(frozen=True)
class Asked:
    """One request for a caption.

    Attributes:
        image: path, or paths of views of one case.
        names: the same as the client knows it.
        options: of the caption.
        hidden: what must not be told -> what stands for it.
        keep: remember the caption, for its region and documents.
        below_root: names of those that lie in the served folder.
    """

    image: str | list[str]
    names: str | list[str]
    options: CaptionOptions
    hidden: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    below_root: Sequence[str] = ()


@dataclass(frozen=True)
class Kept:
    """A caption that was given out, and what was said of it, withheld words included."""

    caption: Caption
    reply: CaptionReply
    hidden: Mapping[str, str]


class Service:
    """What one process serves.

    Args:
        predictor: loaded and ready.
        root: the only folder that paths in requests may name.
        waiting: as many requests may wait; one more is refused.
        batch: as many that ask for the same are captioned together.
        seconds: within which a request is answered; then its work is dropped.
    """

    def __init__(
        self, predictor: CaptionPredictor, root: Path, *, waiting: int = 32, batch: int = 8, seconds: float = 300.0
    ) -> None:
        self.predictor = predictor
        self.root = root
        self.waiting = waiting
        self.seconds = seconds
        self.under_way = 0
        self.library = Library(root)
        self.stacks = Stacks()
        self.meters = Meters(lambda: self.line.waiting)
        self.line = Line(predictor, length=waiting, batch=batch, measured=self.meters.steps)
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self.region_lock = threading.Lock()
        self._readers = anyio.CapacityLimiter(READERS)

    def asked(self, image: Any, options: CaptionOptions) -> Asked:
        """A request for an image, or several views, by path in the root or by the id of one that was handed out.

        Raises:
            RefusedError: it is not there, or may not be read.
        """
        several = isinstance(image, list) and bool(image)
        if several and len(image) > MAX_VIEWS:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"a case has at most {MAX_VIEWS} views, not {len(image)}")
        hidden: dict[str, str] = {}
        names_given = image if several else [image]
        found = [self._path(name, hidden) for name in names_given]
        hidden[f"{self.root}/"] = ""
        paths, names = [path for path, _ in found], [name for _, name in found]
        below_root = [name for name in names_given if not name.startswith(PREFIX)]
        keep = len(below_root) < len(names_given)
        return Asked(*((paths, names) if several else (paths[0], names[0])), options, hidden, keep, below_root)

    def _path(self, name: Any, hidden: dict[str, str]) -> tuple[str, str]:
        if not (isinstance(name, str) and name.startswith(PREFIX)):
            return inside(self.root, name), name
        handed = self.library.get(name)
        hidden[handed.path.removesuffix("::series")] = handed.name
        if handed.upload:
            hidden[f"{self.library.uploads.get(handed.upload).folder}/"] = ""
        return handed.path, handed.name

    async def answer(self, asked: Asked, told: Told | None = None) -> CaptionReply:
        """Read, wait, caption.

        Raises:
            RefusedError: the image or an option cannot be used, or too many wait.
        """
        if self.under_way >= self.waiting:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait: try again later")
        self.under_way += 1
        try:
            caption = await asyncio.wait_for(self._caption(asked, told), self.seconds)
        except TimeoutError:
            late = f"not answered within {self.seconds:g} s: ask for less, or later"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, late) from None
        except (InputError, WeightsError) as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, hide(str(error), asked.hidden)) from None
        except (TypeError, ValueError) as error:
            kind = f"an option has a value of the wrong kind ({type(error).__name__})"
            raise RefusedError(HTTPStatus.BAD_REQUEST, kind) from None
        finally:
            self.under_way -= 1
        reply = reply_of(caption, names=asked.names, hidden=asked.hidden)
        return self._keep(caption, reply, asked) if asked.keep else reply

    async def _caption(self, asked: Asked, told: Told | None) -> Caption:
        parts = asked.options.parts()
        options = self.predictor.options_of(parts.generation)
        if told is not None:
            told("step", "read")
        pixels, meta = await anyio.to_thread.run_sync(
            lambda: self.predictor.load(asked.image, **parts.reading), limiter=self._readers, abandon_on_cancel=True
        )
        for name in asked.below_root:  # a link may have been put in its place since it was looked at
            inside(self.root, name)
        job = Job(asked.image, pixels, meta, parts.reading, options, parts.prompt, parts.explain, told)
        if not self.line.add(job):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait: try again later")
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            job.left.set()

    def _keep(self, caption: Caption, reply: CaptionReply, asked: Asked) -> CaptionReply:
        name = secrets.token_urlsafe(12)
        whole = reply_of(caption, names=asked.names, hidden=asked.hidden, show_withheld=True)
        self.kept[name] = Kept(caption, whole, asked.hidden)
        while len(self.kept) > MAX_KEPT or len(self.kept) > 1 and self.kept_bytes() > MAX_KEPT_BYTES:
            self.kept.popitem(last=False)
        return whole.model_copy(update={"id": name})

    def kept_bytes(self) -> int:
        """What the images, maps and regions of the kept captions take."""
        return sum(kept.caption.case.nbytes for kept in self.kept.values())

    def kept_caption(self, name: str) -> Kept:
        """Raises RefusedError: it is no longer kept."""
        if name not in self.kept:
            raise RefusedError(HTTPStatus.NOT_FOUND, "this caption is not kept any more: make it again")
        self.kept.move_to_end(name)
        return self.kept[name]

    def close(self) -> None:
        """Let nobody in and let the network go: FastAPI remembers the routes of every app, and this with them."""
        self.line.close()
        self.library.close()
        self.kept.clear()
        del self.predictor


def hide(text: str, hidden: Mapping[str, str]) -> str:
    """``text`` with other words in the place of hidden ones."""
    for secret, shown in hidden.items():
        text = text.replace(secret, shown)
    return text
