"""The captioning task that clients see under ``/infer/caption``."""

from __future__ import annotations

import time
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from .model import ActiveModel
from .options import DEFAULTS, caption_options


class CaptionInferTask(InferTask):
    """Describes an image in words; the reply is JSON, without a mask.

    Args:
        model: the network.
    """

    def __init__(self, model: ActiveModel) -> None:
        super().__init__(
            type=InferType.OTHERS,
            labels=[],
            dimension=2,
            description="Describes a medical image in words. For research, not for diagnosis.",
            config=dict(DEFAULTS),
        )
        self.model = model

    def info(self) -> dict[str, Any]:
        versions = self.model.versions
        return {**super().info(), "output": "text", "versions": versions.names(), "active": versions.active().name}

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        """Caption ``request["image"]``, a path.

        Returns:
            no file, and `scripts.commands.replies.CaptionReply` with the ``options`` used and ``seconds`` taken in all.

        Raises:
            InputError: the image or an option cannot be used.
        """
        options = caption_options(request)
        start = time.perf_counter()
        reply = self.model.caption(request["image"], options)
        asked = {name: options[name] for name in DEFAULTS}
        seconds = round(time.perf_counter() - start, 3)
        return None, {**reply, "options": asked, "seconds": seconds, "label_names": {}}
