"""One image at a time: what was said, what was right, how good it was, and which failures go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scripts.concepts.fields import CaptionFields, read_fields, true_fields, word_overlap
from scripts.metrics.agreement import sides
from scripts.metrics.diversity import is_looped, normal_caption
from scripts.metrics.pairs import Pairs
from scripts.metrics.protocols import Protocol
from scripts.metrics.rouge import rouge_l_score

READ = ("plane", "modality", "organ")


@dataclass(frozen=True)
class Case:
    """One image with its captions and what a reader wants to know about them.

    Args:
        image: path as the references give it.
        modality: of the datalist.
        prediction, reference: captions.
        baselines: baseline's name to its caption.
        truth, said: fields of reference and prediction.
        quality: 0 to 1, mean of plane, modality, organ (0/1), words of the abnormality (F1) and ROUGE-L.
        verbatim: whether the prediction occurs in training.
    """

    image: str
    modality: str
    prediction: str
    reference: str
    truth: CaptionFields
    said: CaptionFields
    quality: float
    verbatim: bool = False
    baselines: Mapping[str, str] = field(default_factory=dict)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Fields (plane, modality, organ) that the prediction has wrong."""
        return tuple(name for name in READ if getattr(self.truth, name) != getattr(self.said, name))


def build_cases(
    pairs: Pairs, protocol: Protocol, baselines: Mapping[str, Sequence[str]], training: Sequence[str]
) -> list[Case]:
    """Cases in the order of `pairs`; `baselines` hold one caption an image in the same order."""
    known = {normal_caption(caption) for caption in training}
    cases = []
    for i, image in enumerate(pairs.images):
        prediction, reference = pairs.predictions[i], pairs.references[i][0]
        truth, said = true_fields(reference, pairs.fields[i]), read_fields(prediction)
        cases.append(
            Case(
                image=image,
                modality=pairs.modalities[i] or "unknown",
                prediction=prediction,
                reference=reference,
                truth=truth,
                said=said,
                quality=_quality(prediction, reference, truth, said, protocol),
                verbatim=normal_caption(prediction) in known,
                baselines={name: captions[i] for name, captions in baselines.items()},
            )
        )
    return cases


def _quality(prediction: str, reference: str, truth: CaptionFields, said: CaptionFields, protocol: Protocol) -> float:
    parts = [float(getattr(truth, name) == getattr(said, name)) for name in READ]
    if truth.abnormality is not None:
        parts.append(word_overlap(said.abnormality, truth.abnormality))
    parts.append(rouge_l_score(protocol.tokens(prediction), [protocol.tokens(reference)]))
    return float(np.mean(parts))


def failure_groups(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Cases by what went wrong, the gravest kinds first; a case may be in several groups, empty groups are left out."""
    groups: dict[str, list[Case]] = {
        "no caption": [c for c in cases if not c.prediction.strip()],
        "looped words": [c for c in cases if is_looped(c.prediction)],
        "other kind of machine (CT for MRI, ...)": [c for c in cases if c.truth.family != c.said.family],
        "other side": [
            c for c in cases if (told := sides(c.reference)) and (said := sides(c.prediction)) and told != said
        ],
        "body part and view both wrong": [c for c in cases if {"plane", "organ"} <= set(c.wrong)],
        "only the body part wrong": [c for c in cases if c.wrong == ("organ",)],
        "only the plane wrong": [c for c in cases if c.wrong == ("plane",)],
        "only the exact modality wrong, same machine": [
            c for c in cases if c.wrong == ("modality",) and c.truth.family == c.said.family
        ],
        "all three right, other finding": [
            c for c in cases if not c.wrong and c.truth.abnormality not in (None, c.said.abnormality)
        ],
    }
    return {name: members for name, members in groups.items() if members}


def all_right(cases: Sequence[Case]) -> int:
    """How many cases have plane, modality and organ right."""
    return sum(not case.wrong for case in cases)


def confusions(cases: Sequence[Case], name: str, most: int = 8) -> list[tuple[str, str, int]]:
    """The commonest mistakes in one field: `(truth, said, images)`."""
    pairs = Counter(
        (getattr(c.truth, name) or "none", getattr(c.said, name) or "none") for c in cases if name in c.wrong
    )
    return [(truth, said, count) for (truth, said), count in pairs.most_common(most)]


def confusion_matrix(cases: Sequence[Case], name: str, most: int = 10) -> tuple[list[str], list[list[int]]]:
    """Counts `[truth][said]` over the `most` commonest values of a field; the others are one row and column."""
    values = Counter(getattr(c.truth, name) or "none" for c in cases)
    labels = [value for value, _ in values.most_common(most)]
    place = {value: i for i, value in enumerate(labels)}
    if len(values) > most or any((getattr(c.said, name) or "none") not in place for c in cases):
        labels = [*labels, "other"]
    last = len(labels) - 1
    counts = [[0] * len(labels) for _ in labels]
    for case in cases:
        truth, said = (getattr(fields, name) or "none" for fields in (case.truth, case.said))
        counts[place.get(truth, last)][place.get(said, last)] += 1
    return labels, counts
