"""Active learning: the image that an annotator gets next."""

from __future__ import annotations

import time
from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy

from .caption_store import CaptionStore

OFFERED_SECONDS = 600
NO_DRAFT = 2.0
"""Ranks behind every confidence."""


class LeastCertain(Strategy):
    """The image whose draft caption the network is least certain of, among those without a reviewed caption.

    Images without a draft come after those with one (caption them in a batch first). An image that was offered in the
    last ten minutes comes last, so "next" goes on, and two annotators do not get the same one.
    """

    def __init__(self) -> None:
        super().__init__("Least certain caption first, among images without a reviewed caption")

    def __call__(self, request: dict[str, Any], datastore: CaptionStore) -> dict[str, Any] | None:
        images = datastore.get_unlabeled_images()
        if not images:
            return None
        now = time.time()
        ranked = {image: self._rank(image, datastore, request["strategy"], now) for image in images}
        best = min(images, key=lambda image: (*ranked[image], image))
        certainty = ranked[best][2]
        confidence = None if certainty == NO_DRAFT else certainty
        return {"id": best, "confidence": confidence, "weight": 0.0 if confidence is None else 1 - confidence}

    @staticmethod
    def _rank(image: str, datastore: CaptionStore, strategy: str, now: float) -> tuple[bool, float, float]:
        """Recently offered (and when), then confidence."""
        offered = datastore.get_image_info(image).get("strategy", {}).get(strategy, {}).get("ts", 0)
        recent = now - offered < OFFERED_SECONDS
        label = datastore.caption_of(image) or {}
        confidence = label.get("confidence")
        confidence = label.get("token_confidence") if confidence is None else confidence  # nothing is calibrated
        return recent, offered if recent else 0.0, NO_DRAFT if confidence is None else float(confidence)
