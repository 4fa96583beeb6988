"""MSMedCap captions in MONAI Label. Start it with ``make label STUDIES=folder`` (``serve.py``)."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUNDLE = Path(os.environ.get("MSMEDCAP_BUNDLE", HERE.parents[1] / "bundle"))
for folder in (BUNDLE, HERE / "compat"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from lib.batch import CaptionBatch  # noqa: E402
from lib.caption_store import CaptionStore  # noqa: E402
from lib.dicomweb_client import CarefulClient  # noqa: E402
from lib.dicomweb_store import DicomWebCaptionStore  # noqa: E402
from lib.infer import CaptionInferTask  # noqa: E402
from lib.labels import TAG, draft_label  # noqa: E402
from lib.local_store import LocalCaptionStore  # noqa: E402
from lib.model import ActiveModel  # noqa: E402
from lib.strategy import LeastCertain  # noqa: E402
from lib.train import CaptionTrainTask  # noqa: E402
from lib.versions import Versions  # noqa: E402
from monailabel.config import settings  # noqa: E402
from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.exception import (  # noqa: E402
    ImageNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from monailabel.interfaces.tasks.strategy import Strategy  # noqa: E402
from monailabel.tasks.activelearning.random import Random  # noqa: E402

from scripts.predictor import InputError  # noqa: E402

NAME = "caption"
"""Of the task, the training and the batch task, as clients call them."""


class CaptionApp(MONAILabelApp):
    """Captioning, review, fine-tuning and the choice of what to review next.

    Args:
        app_dir: this folder.
        studies: a folder of images, or the URL of a DICOMweb server.
        conf: ``--conf NAME VALUE`` of the command line: values of the bundle's inference config, such as ``amp_dtype``.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        given = {name: value for name, value in (conf or {}).items() if name != "server_mode"}
        self._overrides = {name: _value(text) for name, text in given.items()}
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="MSMedCap captions",
            description="Medical images described in words. For research, not for diagnosis.",
            version="1",
        )

    def init_datastore(self) -> CaptionStore:
        if self.studies.startswith(("http://", "https://")):
            return DicomWebCaptionStore(
                client=self._dicomweb_client(),
                search_filter=settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER,
                cache_path=settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip() or None,
            )
        return LocalCaptionStore(self.studies, auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)

    def _dicomweb_client(self) -> CarefulClient:
        self.studies = self.studies.rstrip("/")
        return CarefulClient(
            self.studies,
            user=settings.MONAI_LABEL_DICOMWEB_USERNAME,
            password=settings.MONAI_LABEL_DICOMWEB_PASSWORD,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )

    def init_infers(self) -> dict[str, CaptionInferTask]:
        self.versions = Versions(self.datastore().state_folder / "versions")
        return {NAME: CaptionInferTask(ActiveModel(BUNDLE, self.versions, **self._overrides))}

    def init_trainers(self) -> dict[str, CaptionTrainTask]:
        return {NAME: CaptionTrainTask(BUNDLE, self.versions)}

    def init_strategies(self) -> dict[str, Strategy]:
        return {"least_certain": LeastCertain(), "random": Random()}

    def init_batch_infer(self) -> CaptionBatch:
        return CaptionBatch()

    def infer(self, request: dict[str, Any], datastore: CaptionStore | None = None) -> dict[str, Any]:
        """Caption an image of the datastore, of a session, or one that was just uploaded.

        With ``save_label`` the caption is stored as a draft (label tag ``caption`` or ``label_tag``). Of an image that
        does not look medical the reply says so (``withheld``), and nothing is stored.

        Raises:
            InputError, ImageNotFoundException, MONAILabelException: what is wrong with the request.
        """
        task = self._infers.get(request.get("model"))
        if task is None:
            known = ", ".join(self._infers)
            raise MONAILabelException(
                MONAILabelError.INVALID_INPUT, f"there is no model of that name; there is {known}"
            )
        store = datastore or self.datastore()
        name = str(request.get("image") or "")
        request = dict(request)
        sent = bool(request.pop("was_sent", False)) and self._sent(name)
        path = name if sent else store.find(name)
        if not path:
            raise ImageNotFoundException(f"there is no image {name!r} among the studies")
        try:
            _, reply = task({**request, "image": path})
        except InputError as error:  # the client's name for the image, not where it lies here
            raise InputError(str(error).replace(path, "the image sent" if sent else name)) from error
        if request.get("save_label") in (True, "true") and reply["caption"]:
            tag = request.get("label_tag") or TAG
            with _temporary_label(draft_label(reply)) as file:
                reply["label"] = store.save_label(store.id_of(name), file, tag, {"model": request["model"]})
                reply["label_tag"] = tag
        return {"label": None, "tag": TAG, "file": None, "params": reply}

    def infer_wsi(self, request: dict[str, Any], datastore: CaptionStore | None = None) -> dict[str, Any]:
        """Refused: MONAI Label's way with whole slides opens whatever path a request names."""
        raise MONAILabelException(
            MONAILabelError.INVALID_INPUT, "whole-slide inference is not what captions have; POST /infer/caption"
        )

    def _sent(self, name: str) -> bool:
        """Whether this is a file that came with the request or its session, where only the server writes."""
        uploads = os.environ.get("MSMEDCAP_UPLOADS")
        kept = [uploads, self.sessions().store_path if self.sessions() is not None else None]
        if not os.path.isabs(name) or not os.path.exists(name):
            return False
        return any(Path(name).resolve().is_relative_to(Path(folder).resolve()) for folder in kept if folder)


def _value(text: str) -> Any:
    """A value of the command line: a number, true or false where it is one, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextlib.contextmanager
def _temporary_label(label: dict[str, Any]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8", delete=False) as file:
        json.dump(label, file, ensure_ascii=False)
    try:
        yield file.name
    finally:
        os.unlink(file.name)
