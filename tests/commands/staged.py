"""A predictor that reads images as the real one does and says what it is told to say, for tests of the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.explanation import Explanation
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.record import caption_record
from scripts.predictor import Caption
from scripts.reading.image_meta import ImageMeta
from scripts.transforms.preprocessing import Preprocessing

WORDS = ("Axial", "CT", "of", "the", "chest", "showing", "pneumonia.")
LOGPROBS = (-0.02, -0.1, -0.01, -0.01, -0.2, -0.05, -1.6)


class Staged:
    """Writes `WORDS` a word at a time; "axial" was seen in the upper left corner; ``unsure`` withholds captions."""

    provenance = {"model_version": "9.9.9", "weights": {"model.pt": "a" * 64}, "trace": {}}
    device = torch.device("cpu")

    def __init__(self, *, unsure: bool = False, pause: float = 0.0) -> None:
        self.unsure, self.pause = unsure, pause
        self.preprocessing = Preprocessing.standard()
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked: list[tuple[Any, ...]] = []

    def options_of(self, generation: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted(generation.items()))

    def load(self, image: str | list[str], **reading: Any) -> tuple[torch.Tensor, ImageMeta]:
        return self.preprocessing.load(image, **reading)

    def caption_loaded(
        self, images: Sequence[Any], loaded: Sequence[Any], *, asked: Any, options: Any, prompt: Any, explain: Any,
        timer: Any, written: Any,
    ) -> list[Caption]:  # fmt: skip
        self.asked.append((len(images), dict(asked), prompt, explain))
        timer.told("encode detail")
        for count in range(1, len(WORDS) + 1):
            written(dict.fromkeys(range(len(images)), " ".join(WORDS[:count])))
            time.sleep(self.pause)
            self.go_on.wait(20)
        return [self._caption(image, *one, bool(explain)) for image, one in zip(images, loaded, strict=True)]

    def _caption(self, image: Any, pixels: torch.Tensor, meta: ImageMeta, explain: bool) -> Caption:
        text, tokens = " ".join(WORDS), tuple(f" {word}" for word in WORDS)
        record = caption_record(
            image, caption=text, token_logprobs=list(LOGPROBS), tokens=tokens, meta=meta, error=None,
            provenance=self.provenance,
        )  # fmt: skip
        sure = 0.2 + 0.6 * (sum(str(image).encode()) % 97) / 97
        record |= {"confidence": round(sure, 4), "abstained": self.unsure, "notes": ["made for a test"]}
        record |= {
            "findings": [{"finding": "pneumonia", "probability": 0.12, "stated": True}],
            "finding_confidence": 0.12,
        }
        if self.unsure:
            record |= {"caption": None, "tokens": None}
        case = CaptionedCase(str(Path(image)), record, pixels[None], tokens, _looked() if explain else None)
        return Caption(text, record["confidence"], LOGPROBS, tokens, case, {"read": 0.01, "decode": 0.05})


def _looked() -> Explanation:
    maps = torch.full((len(WORDS), 8, 8), 1.0)
    maps[0, :2, :2] = 40.0
    maps = maps / maps.sum((1, 2), keepdim=True)
    share = {"general": torch.full((len(WORDS),), 0.75), "detail": torch.full((len(WORDS),), 0.25)}
    regions = torch.full((len(WORDS), 1, 32, 32), -1.0)
    regions[:, :, 4:12, 4:12] = 1.0
    return Explanation(WORDS, LOGPROBS, {"general": maps, "detail": maps.flip(1)}, share, find_regions=lambda: regions)
