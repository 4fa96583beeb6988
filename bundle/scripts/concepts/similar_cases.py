"""Similar cases: training cases whose pictures lie near an image in the feature space of the concept reader's encoders.

A captioner writes the likeliest words; a neighbour *was seen and named by somebody*. So the reader carries an index of
its training cases: features, what their captions say of plane, modality, organ and finding, and where they come from.
It holds no picture. It holds captions only where who built it asked for them; without, a case is told by its fields.

Features are the encoders' mean tokens, centred, projected on the ``width`` directions in which training cases vary
most, each scaled to the same spread (whitening), of length 1. The distance of two is one minus their cosine: 0 for the
same picture, about 1 for unrelated ones. Whitening matters: without it all pictures of one kind are near one another,
and a small distance says little. `closeness` says how much a case speaks for what it shows: nothing from `FAR` on.

    python -m scripts.commands.similar DATALIST FILE        # of any datalist, for the reader of a bundle

Shape legend: N cases of the index, B images, C width of the encoders' mean token, D of the index.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from scripts.concepts.fields import read_fields
from scripts.errors import InputError, WeightsError
from scripts.weights.intact import read_safetensors, write_sealed_safetensors

if TYPE_CHECKING:
    from scripts.encoders.pooled import PooledEncoders

WIDTH = 256
LEAST_SPREAD = 1e-3  # of the widest direction: what lies below it is noise that whitening would blow up
_CAPITALS = re.compile(
    r"\b(?:ct|mri?|pet|adc|flair|stir|fiesta|gi|iv|ap|pa|cc|mlo|t1|t2|x-ray)\b"
)  # lower-case in labels
ANSWERED = ("plane", "modality", "organ", "finding")
FAR, NEAREST = 0.4, 0.03  # distances: from where on a case says nothing, and up to where it says no more
COUNT = 10  # of the cases nearest to an image that are asked


@dataclass(frozen=True)
class SimilarCase:
    """A training case near an image.

    Attributes:
        source: where it comes from, as the datalist names it.
        distance: from the image, 0 to 2.
        plane, modality, organ, finding: what its caption says; None where it does not.
        caption: its caption, None where the index holds none.
    """

    source: str
    distance: float
    plane: str | None
    modality: str | None
    organ: str | None
    finding: str | None
    caption: str | None = None

    @property
    def text(self) -> str:
        """Its caption; without one its fields: "axial CT, head: no abnormality"."""
        kind = " ".join(_CAPITALS.sub(lambda found: found.group().upper(), name) for name in self._kind())
        view = ", ".join(value for value in (kind.replace("X-RAY", "X-ray"), self.organ) if value)
        return self.caption or (f"{view}: {self.finding}" if self.finding else view)

    def _kind(self) -> list[str]:
        return [value for value in (self.plane, self.modality) if value]

    def told(self) -> dict[str, Any]:
        """As a record holds it."""
        return {"text": self.text, "finding": self.finding, "distance": round(self.distance, 4), "source": self.source}


def closeness(distance: float) -> float:
    """``max(0, log(FAR / d))``: above 0 only where a case is so near that it may be of the same patient or disease."""
    return max(0.0, math.log(FAR / max(distance, NEAREST)))


def votes(cases: Sequence[SimilarCase], field: str, names: Sequence[str]) -> Tensor:
    """``[len(names)]``: of each answer to a field, the summed `closeness` of the cases that give it."""
    told = torch.zeros(len(names))
    for case in cases:
        if (answer := getattr(case, field)) in names:
            told[names.index(answer)] += closeness(case.distance)
    return told


class SimilarCases:
    """An index of training cases.

    Args:
        features: ``[N, D]`` of length 1.
        centre: ``[C]``; axes: ``[C, D]``: mean tokens -> features.
        labels: of each case, answers to `ANSWERED`, "" for none.
        sources: of each case.
        captions: of each case; None for an index that holds none.
        reader: SHA-256 of the encoders that it belongs to.
    """

    def __init__(
        self,
        features: Tensor,
        *,
        centre: Tensor,
        axes: Tensor,
        labels: Sequence[Sequence[str]],
        sources: Sequence[str],
        captions: Sequence[str] | None = None,
        reader: str = "",
    ) -> None:
        self.features, self.centre, self.axes = features.float(), centre.float(), axes.float()
        self.labels, self.sources, self.captions = [tuple(row) for row in labels], list(sources), captions
        self.reader = reader

    @classmethod
    def from_tokens(
        cls,
        tokens: Tensor,
        captions: Sequence[str],
        sources: Sequence[str],
        *,
        keep_captions: bool = True,
        width: int = WIDTH,
        reader: str = "",
    ) -> SimilarCases:
        """The index of cases whose mean tokens are ``[N, C]``.

        Raises:
            InputError: there are no two cases.
        """
        if len(tokens) < 2:
            raise InputError("an index of similar cases needs two cases or more: give a datalist with more")
        centre = tokens.float().mean(dim=0)
        _, spread, directions = torch.linalg.svd(tokens.float() - centre, full_matrices=False)
        told = min(width, int((spread > LEAST_SPREAD * spread[0]).sum()))
        axes = (directions[:told] / spread[:told, None]).T * len(tokens) ** 0.5
        labels = [_labels(caption) for caption in captions]
        kept = [" ".join(caption.split()) for caption in captions] if keep_captions else None
        about = {"labels": labels, "sources": sources, "captions": kept, "reader": reader}
        return cls(F.normalize((tokens.float() - centre) @ axes, dim=1), centre=centre, axes=axes, **about)

    def __len__(self) -> int:
        return len(self.features)

    def with_cases(self, tokens: Tensor, captions: Sequence[str], sources: Sequence[str]) -> SimilarCases:
        """The same index with further cases, of mean tokens ``[M, C]``; the directions stay."""
        return SimilarCases(
            torch.cat([self.features, self._project(tokens)]),
            centre=self.centre,
            axes=self.axes,
            labels=[*self.labels, *(_labels(caption) for caption in captions)],
            sources=[*self.sources, *sources],
            captions=None if self.captions is None else [*self.captions, *captions],
            reader=self.reader,
        )

    def _project(self, tokens: Tensor) -> Tensor:
        return F.normalize((tokens.detach().float().cpu() - self.centre) @ self.axes, dim=1)

    def nearest(self, tokens: Tensor, count: int = COUNT) -> list[list[SimilarCase]]:
        """The ``count`` nearest cases of each image, nearest first, from mean tokens ``[B, C]``."""
        distances, cases = (1 - self._project(tokens) @ self.features.T).topk(
            min(count, len(self)), dim=1, largest=False
        )
        return [
            [self._case(case, distance) for case, distance in zip(*row, strict=True)]
            for row in zip(cases.tolist(), distances.clamp(min=0).tolist(), strict=True)
        ]

    def _case(self, number: int, distance: float) -> SimilarCase:
        said = [value or None for value in self.labels[number]]
        caption = None if self.captions is None else self.captions[number]
        return SimilarCase(self.sources[number], distance, *said, caption=caption)

    def save(self, path: str | Path) -> Path:
        """Write it as safetensors, atomically: features in half precision, each answer once."""
        answers = [sorted({row[column] for row in self.labels}) for column in range(len(ANSWERED))]
        numbers = [[names.index(row[column]) for row in self.labels] for column, names in enumerate(answers)]
        about = {
            "answers": dict(zip(ANSWERED, answers, strict=True)),
            "sources": self.sources,
            "captions": None if self.captions is None else list(self.captions),
            "reader": self.reader,
        }
        tensors = {"features": self.features.half(), "centre": self.centre, "axes": self.axes.half().contiguous()}
        tensors["labels"] = torch.tensor(numbers, dtype=torch.int16).T.contiguous()
        return write_sealed_safetensors(path, tensors, {"about": json.dumps(about, ensure_ascii=False)})


def _labels(caption: str) -> tuple[str, ...]:
    read = asdict(read_fields(caption))
    return tuple(read[name] or "" for name in ("plane", "modality", "organ", "abnormality"))


def load_similar_cases(path: str | Path, encoder: PooledEncoders) -> SimilarCases | None:
    """Read what :meth:`SimilarCases.save` wrote; None for the path ``""``, and with a warning for another reader's.

    Args:
        path: the file.
        encoder: the concept reader's, of which the features must be.

    Raises:
        WeightsError: the file is absent or damaged.
    """
    if not str(path):
        return None
    remedy = "build one with python -m scripts.commands.similar, or set similar_cases to ''"
    try:
        metadata, tensors = read_safetensors(path)
        about = json.loads(metadata["about"])
        names = [about["answers"][field] for field in ANSWERED]
        rows = tensors.pop("labels").tolist()
        labels = [[names[column][number] for column, number in enumerate(row)] for row in rows]
        told = {name: about[name] for name in ("sources", "captions", "reader")}
        found = SimilarCases(labels=labels, **told, **tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(f"{path} is no index of similar cases ({error}): {remedy}") from None
    if found.reader != encoder.fingerprint():
        warnings.warn(f"{Path(path).name} is of another concept reader and is not used: {remedy}", stacklevel=2)
        return None
    return found
