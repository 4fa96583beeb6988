"""Captions for many images: drafts that the active-learning strategy ranks and annotators correct."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from scripts.predictor import InputError

from .caption_store import CaptionStore
from .labels import JUDGED, TAG

logger = logging.getLogger(__name__)


class CaptionBatch(BatchInferTask):
    """One draft an image, one after the other; an image that cannot be captioned gets its reason."""

    def __call__(
        self, request: dict[str, Any], datastore: CaptionStore, infer: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Draft captions of ``request["images"]`` (``all``, ``labeled`` or ``unlabeled``).

        Returns:
            image id -> ``caption`` and what the network doubts (``confidence``, ``finding_confidence``, ``findings``,
            ``abstained``, ``withheld``), or ``error``.
        """
        images = sorted(self.get_images(request, datastore))
        limit = request.get("max_batch_size") or len(images)
        done: dict[str, Any] = {}
        for image in images[:limit]:
            asked = {**request, "image": image, "save_label": True, "label_tag": request.get("label_tag", TAG)}
            try:
                reply = infer(asked, datastore)["params"]
                done[image] = {name: reply.get(name) for name in ("caption", "confidence", *JUDGED)}
            except InputError as error:
                done[image] = {"error": " ".join(str(error).split())}
            logger.info("%d of %d: %s => %s", len(done), len(images), image, done[image])
        return done
