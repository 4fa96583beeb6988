"""A captioned case (:class:`CaptionedCase`), and the contract of a class that writes it (:class:`OutputWriter`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from scripts.explanation import Explanation


@dataclass(frozen=True)
class CaptionedCase:
    """One captioned case, or one that could not be captioned (then ``record["error"]`` says why).

    Attributes:
        source: path or paths as the user gave them.
        record: the line of ``captions.jsonl``, its trace inside.
        image: ``[V, 3, S, S]`` letterboxed, in [0, 1]; None where it could not be read.
        words: text of each generated token, the end token as ``""``; joined and stripped they are the caption after
            the words that were given (``record["prompt"]``), a finding left out that nothing bears out.
        text: the caption, also where the record withholds it from programs; "" for none.
        explanation: ``scripts.explanation.Explanation``, when asked for.
    """

    source: str | list[str]
    record: Mapping[str, Any]
    image: Tensor | None
    words: tuple[str, ...]
    explanation: Explanation | None = None
    text: str = ""

    @property
    def nbytes(self) -> int:
        """About the memory that it holds: an explanation has the image, too, and regions, which take about as much."""
        image = 0 if self.image is None else self.image.nbytes
        return image if self.explanation is None else 3 * image


class OutputWriter(Protocol):
    """One class an output; built as ``Writer(output_dir=Path, **options)``, which must not write anything yet.

    A class that draws from explanations says so with ``needs_explanation = True``: runs without them are refused. One
    that has ``recall(case, note)`` can go on with a run that was interrupted: it is called for each case that was
    added, with the record and with what ``note()`` (where there is one) gave after ``add``, None where that failed.
    """

    def add(self, case: CaptionedCase) -> list[Path]:
        """Files written for this case.

        Raises:
            InputError: this case cannot be written; the message names file and remedy, the run goes on.
        """

    def finish(self) -> list[Path]:
        """Files written for the run, such as an index."""
