"""One line of ``captions.jsonl`` as a dictionary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scripts.outputs.captioned_case import CaptionedCase
from scripts.provenance.trace import batch_trace, pixels_sha256
from scripts.reading.image_meta import ImageMeta

if TYPE_CHECKING:
    from scripts.captioning import CaptionedBatch
    from scripts.confidence import ConfidenceRule
    from scripts.explanation import Explanation


def caption_record(
    source: str | list[str],
    *,
    meta: ImageMeta | None,
    provenance: Mapping[str, Any],
    caption: str | None = None,
    token_logprobs: list[float] | None = None,
    error: str | None = None,
    tokens: Sequence[str] | None = None,
    support: float | None = None,
    prompt: str = "",
    withheld: str | None = None,
) -> dict[str, Any]:
    """One line of ``captions.jsonl``.

    ``token_confidence`` is the geometric mean of the caption's token probabilities, ``exp(mean(log p))``, in (0, 1];
    what it is worth is for :class:`scripts.confidence.ConfidenceRule` to say, which adds ``confidence``. ``support`` is
    the probability that the concept reader gives to plane, modality and organ of the caption; ``notes`` say what had to
    be chosen or believed while the image was read.

    Args:
        source: the path or paths as the user gave them.
        meta: what the reader and the window did.
        provenance: ``model_version``, ``weights`` and the run's part of ``trace``.
        caption: the whole text, or None where the image could not be captioned.
        token_logprobs: natural logarithm of the probability of each generated token, the end token included.
        error: why there is no caption.
        tokens: text of each generated token, the end token as ``""``.
        support: its natural logarithm, None without a concept reader.
        prompt: words that the caption begins with because they were given; all others are the network's.
        withheld: why there is no caption although nothing went wrong.
    """
    noted = {} if meta is None else meta.record()
    mean = sum(token_logprobs) / len(token_logprobs) if token_logprobs else None
    return {
        "image": source,
        "caption": caption,
        "prompt": prompt,
        "token_confidence": None if mean is None else round(math.exp(mean), 6),
        "support": None if support is None else round(math.exp(support), 6),
        "tokens": None if tokens is None else list(tokens),
        "token_logprobs": None if token_logprobs is None else [round(value, 5) for value in token_logprobs],
        "modality": noted.get("modality") or None,
        "window": noted.get("window"),
        "slice": noted.get("slice"),
        "notes": [] if meta is None else _notes(meta),
        "model_version": provenance.get("model_version"),
        "weights": provenance.get("weights"),
        "trace": {"input": noted, **provenance.get("trace", {})},
        "withheld": withheld,
        "error": error,
    }


def _notes(meta: ImageMeta) -> list[str]:
    """Of all files of the case, each once."""
    return list(dict.fromkeys(note for view in meta.views for note in view.get("notes") or ()))


def captioned_case(
    source: str | list[str],
    image: Tensor | None,
    made: CaptionedBatch,
    *,
    meta: ImageMeta | None,
    row: int,
    of: int,
    provenance: Mapping[str, Any],
    rule: ConfidenceRule,
) -> CaptionedCase:
    """One case of a captioned batch.

    Args:
        source: the path or paths as the user gave them.
        image: ``[V, 3, S, S]``, or None where tokens came from a cache.
        made: the batch.
        meta: what the reader and the window did.
        row: of the batch; of: its size.
        provenance: see :func:`caption_record`.
        rule: judges how sure the caption is, and withholds it.
    """
    words = tuple(made.words[row])
    withheld = made.withheld[row] if made.withheld else None
    record = caption_record(
        source,
        caption=None if withheld else made.captions[row],
        token_logprobs=None if withheld else made.logprobs_of(row),
        tokens=words or None,
        meta=meta,
        provenance=provenance,
        support=None if made.support is None else made.support[row],
        prompt=made.prompts[row],
        withheld=withheld,
    )
    record["notes"] += made.notes[row] if made.notes else []
    record["trace"]["pixels"] = None if image is None else pixels_sha256(image)
    record["trace"]["batch"] = batch_trace(row, of)
    explanation = None if made.explanations is None else made.explanations[row]
    samples = () if made.samples is None else made.samples[row]
    record = rule.judge(record, samples, None if made.evidence is None else made.evidence[row])
    kept = tuple(record["tokens"] or ())
    if len(kept) < len(words):
        words = kept
        explanation = None if explanation is None else _cut(explanation, len("".join(words).split()), record["caption"])
    return CaptionedCase(source, rule.withhold(record), image, words, explanation, text=record["caption"] or "")


def _cut(explanation: Explanation, count: int, caption: str | None) -> Explanation | None:
    """Of the caption's first ``count`` words, as they stand in the shortened caption: the last one ends it."""
    found, shown = explanation.first(count), (caption or "").split()[-count:]
    return found if found is None or len(shown) != count else replace(found, words=tuple(shown))


def source_name(source: str | list[str]) -> str:
    """The one path that stands for a case in messages: its first."""
    return source if isinstance(source, str) else str(source[0])
