"""The queue before the one network: requests that wait and ask for the same are captioned together."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from scripts.generation import GenerationOptions
from scripts.kernels.allocator import give_back_memory
from scripts.predictor import Caption, CaptionPredictor
from scripts.provenance.timing import StepTimer
from scripts.reading.image_meta import ImageMeta

PASSES_BETWEEN_TRIMS = 32  # a trim costs a pass some hundredths of a second; without it memory grows for hours

Told = Callable[[str, Any], None]
"""Hears ``("step", name)`` as each step begins and ``("words", text)`` as the caption grows; from another thread."""


class LeftError(Exception):
    """Nobody waits for the work any more."""


@dataclass(eq=False)
class Job:
    """One image that waits to be captioned.

    Attributes:
        image: where it came from.
        pixels, meta: as ``CaptionPredictor.load`` gave them.
        asked: window, slice and plane as they were asked for.
        options, prompt, explain: see ``CaptionPredictor.caption_loaded``.
        told: hears how far it is; None where nobody listens.
        done: gets the `Caption`, or the error.
    """

    image: str | list[str]
    pixels: Tensor
    meta: ImageMeta
    asked: Mapping[str, Any]
    options: GenerationOptions
    prompt: str | None = None
    explain: bool | str = False
    told: Told | None = None
    done: Future[Caption] = field(default_factory=Future)
    left: threading.Event = field(default_factory=threading.Event)

    def fits(self, other: Job) -> bool:
        """Whether both can be captioned in one pass."""
        same = (self.options, self.prompt, self.explain, self.asked)
        shape = getattr(self.pixels, "shape", None) == getattr(other.pixels, "shape", None)
        return shape and same == (other.options, other.prompt, other.explain, other.asked)


class Line:
    """Captions what waits, in the order in which it came; one thread, one network.

    Args:
        predictor: loaded and ready.
        length: as many may wait; one more is refused.
        batch: as many that ask for the same are captioned together.
        measured: hears the seconds of each step of a pass.
    """

    def __init__(
        self,
        predictor: CaptionPredictor,
        *,
        length: int = 32,
        batch: int = 8,
        measured: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        self.predictor = predictor
        self.length, self.batch = length, batch
        self._measured = measured or (lambda seconds: None)
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._passes = 0
        self._thread = threading.Thread(target=self._work, name="captioning", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait, that under way not counted."""
        return len(self._jobs)

    def add(self, job: Job) -> bool:
        """Put a job at the end; False where the line is full."""
        with self._changed:
            if self._closed or len(self._jobs) >= self.length:
                return False
            self._jobs.append(job)
            self._changed.notify()
        if job.told is not None:
            job.told("step", "wait")
        return True

    def close(self) -> None:
        """Let nobody in and end when the pass under way is done."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.done.cancel()
            self._jobs.clear()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    del self.predictor  # it is large, and who holds the line may live on
                    return
                jobs = self._together()
            if jobs:
                self._caption(jobs)
                self._passes += 1
                if self._passes % PASSES_BETWEEN_TRIMS == 0:
                    give_back_memory()

    def _together(self) -> list[Job]:
        """The first job that somebody still waits for, and those behind it that fit it."""
        staying = [job for job in self._jobs if not job.left.is_set()]
        if not staying:
            self._jobs.clear()
            return []
        chosen = [job for job in staying if job.fits(staying[0])][: self.batch]
        self._jobs = deque(job for job in staying if job not in chosen)
        return chosen

    def _caption(self, jobs: Sequence[Job]) -> None:
        try:
            for job, caption in zip(jobs, self._pass(jobs), strict=True):
                _deliver(job, caption)
        except LeftError as error:
            for job in jobs:
                _deliver(job, error)
        except Exception as error:  # one image of several may be what fails: each gets its own answer
            if len(jobs) == 1:
                _deliver(jobs[0], error)
                return
            for job in jobs:
                self._caption([job])

    def _pass(self, jobs: Sequence[Job]) -> list[Caption]:
        first = jobs[0]

        def tell(kind: str, value: Any, row: int | None = None) -> None:
            if all(job.left.is_set() for job in jobs):
                raise LeftError
            for job in jobs if row is None else [jobs[row]]:
                if job.told is not None:
                    job.told(kind, value)

        def written(texts: Mapping[int, str]) -> None:
            if all(job.told is None for job in jobs):
                tell("words", "")
            for row, text in texts.items():
                if jobs[row].told is not None:
                    tell("words", text, row)

        captions = self.predictor.caption_loaded(
            [job.image for job in jobs],
            [(job.pixels, job.meta) for job in jobs],
            asked=first.asked,
            prompt=first.prompt,
            explain=first.explain,
            options=first.options,
            timer=StepTimer(self.predictor.device, told=lambda name: tell("step", name)),
            written=written,
        )
        self._measured(captions[0].seconds)
        return captions


def _deliver(job: Job, result: Caption | BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # cancelled by whoever waited
        if isinstance(result, BaseException):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
