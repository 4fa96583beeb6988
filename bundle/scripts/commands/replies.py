"""`CaptionReply`: what a captioned image is answered with, one schema for the service, the worker and MONAI Label.

A reply is a line of ``captions.jsonl`` with what people and programs need beside it: plane, place in the network's
square, time of each step and, where asked for, the explanation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from scripts.predictor import Caption


class ExplanationReply(BaseModel):
    """Where in the image each word was found.

    ``maps`` are by branch ``[W][h][w]`` over the network's square, ``[W][V][h][w]`` for several views, with null in
    the place of a word that names nothing visible ("with", "of"); ``share`` is by branch the part of each word's
    reliance. Beside the branches, "reader" stands for the concept reader. ``methods`` tells how each word's map was
    made: a word that the reader does not know has the map of its gradient.
    """

    words: list[str]
    logprobs: list[float]
    maps: dict[str, list[list[Any] | None]]
    share: dict[str, list[float]]
    methods: list[str | None] = []
    notes: list[str] = []


class CaptionReply(BaseModel):
    """A caption, its doubts, and what it rests on; keys beside these are those of ``captions.jsonl``."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    image: str | list[str] = Field(description="the image as the request named it")
    caption: str | None = Field(description="the text; null where it is withheld and the reader is a program")
    prompt: str = Field("", description="the words of it that were given")
    written: str | None = Field(None, description="the network's whole sentence, unsupported findings included")
    confidence: float | None = Field(None, description="chance that plane, kind and organ are right, calibrated")
    token_confidence: float | None = Field(None, description="geometric mean of the token probabilities")
    support: float | None = Field(None, description="what the concept reader gives to plane, kind and organ")
    finding_confidence: float | None = Field(None, description="chance that the stated finding is right")
    findings: list[Any] | None = Field(None, description="candidates for the finding with their probabilities")
    similar: list[Any] | None = Field(None, description="the nearest training cases with their distances")
    withheld: Any = Field(None, description="null, or why the caption is withheld")
    abstained: bool = Field(False, description="less sure than the configuration asks for: show it as doubtful")
    agreement: float | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float] | None = None
    modality: str | None = None
    window: dict[str, Any] | list[Any] | str | None = Field(None, description="what the network was shown; text")
    slice: list[int] | None = Field(None, description="indices of the slices that were shown")
    plane: str | None = None
    notes: list[str] | None = Field(None, description="what had to be believed while reading")
    model_version: str | None = None
    weights: dict[str, str] | None = None
    trace: dict[str, Any] | None = None
    error: str | None = None
    resize: dict[str, Any] | None = Field(None, description="how the picture lies in the network's square")
    seconds: dict[str, float] = Field({}, description="how long each step took")
    explanation: ExplanationReply | None = None
    id: str | None = Field(None, description="names this caption for its region and documents, while it is kept")


def reply_of(
    caption: Caption,
    *,
    names: str | list[str] | None = None,
    hidden: Mapping[str, str] | None = None,
    show_withheld: bool = False,
) -> CaptionReply:
    """A caption as plain values.

    Args:
        names: the image as it was asked for; its path by default.
        hidden: text -> what stands for it wherever it occurs, such as the path of an upload -> its name.
        show_withheld: give the words of a withheld caption, too, for people who correct it. Programs, which would pass
            them on unread, get none.
    """
    record = caption.record
    shown = (record.get("trace") or {}).get("input") or {}
    values = {
        **record,
        "image": record.get("image") if names is None else names,
        "plane": (shown.get("orientation") or {}).get("plane"),
        "resize": shown.get("resize"),
        "seconds": dict(caption.seconds),
    }
    if show_withheld:
        values["caption"] = caption.text
    if hidden:
        values = _without(values, hidden)
    if caption.case.explanation is not None and values.get("caption") is not None:
        values["explanation"] = _explanation(caption.case.explanation)
    return CaptionReply.model_validate(values)


def _without(values: Mapping[str, Any], hidden: Mapping[str, str]) -> dict[str, Any]:
    """The values with other texts in the place of hidden ones."""
    text = json.dumps(values)
    for secret, shown in hidden.items():
        text = text.replace(json.dumps(secret)[1:-1], json.dumps(shown)[1:-1])
    return json.loads(text)


def _explanation(found: Any) -> dict[str, Any]:
    return {
        "words": list(found.words),
        "logprobs": [round(value, 4) for value in found.logprobs],
        "maps": {
            name: [
                np.round(one.numpy().astype(float), 6).tolist() if visible else None
                for one, visible in zip(maps, found.visible, strict=True)
            ]
            for name, maps in found.maps.items()
        },
        "share": {name: [round(value, 4) for value in share.tolist()] for name, share in found.share.items()},
        "methods": list(found.methods),
        "notes": list(found.notes),
    }
