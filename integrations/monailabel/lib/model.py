"""The one copy of the network that answers all requests, of the version that is active now."""

from __future__ import annotations

import gc
import logging
import threading
from pathlib import Path
from typing import Any

from scripts.commands.replies import reply_of
from scripts.predictor import CaptionPredictor

from .versions import Version, Versions

logger = logging.getLogger(__name__)


class ActiveModel:
    """Loads the active version at the first request and again when another one becomes active.

    Requests run side by side; a reload waits until those under way are answered, and lets go of the old network before
    it builds the new one, so that memory never holds two.

    Args:
        bundle: the bundle folder.
        versions: which checkpoint is active.
        overrides: values of the bundle's inference config.
    """

    def __init__(self, bundle: str | Path, versions: Versions, **overrides: Any) -> None:
        self.bundle = Path(bundle)
        self.versions = versions
        self.overrides = overrides
        self._condition = threading.Condition()
        self._under_way = 0
        self._predictor: CaptionPredictor | None = None
        self._loaded: Version | None = None

    def caption(self, image: str, options: dict[str, Any]) -> dict[str, Any]:
        """Caption one image: a `CaptionReply` with ``model_version`` naming the fine-tuned version.

        Raises:
            InputError: the image or an option cannot be used.
        """
        predictor, version = self._enter()
        try:
            reply = reply_of(predictor.caption(image, **options), show_withheld=True).model_dump(
                exclude={"id", "seconds"}
            )
        finally:
            with self._condition:
                self._under_way -= 1
                self._condition.notify_all()
        if version.weights is not None:
            reply["model_version"] = f"{reply['model_version']}+reviewed.{version.name}"
        return reply

    def _enter(self) -> tuple[CaptionPredictor, Version]:
        with self._condition:
            wanted = self.versions.active()
            while self._loaded != wanted and self._under_way:
                self._condition.wait()
            if self._loaded != wanted:
                self._load(wanted)
            self._under_way += 1
            return self._predictor, self._loaded

    def _load(self, wanted: Version) -> None:
        """Replace the network; if the new one cannot be loaded, the next request tries again."""
        logger.info("Loading the network, version %s", wanted.name)
        self._predictor = self._loaded = None
        gc.collect()
        weights = {} if wanted.weights is None else {"weights": str(wanted.weights)}
        self._predictor = CaptionPredictor.from_bundle(self.bundle, **{**self.overrides, **weights})
        self._loaded = wanted
