"""A DICOMweb server (Orthanc, a PACS) as the source of images; captions are kept beside the cached series."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import threading
import time
from typing import Any

import requests
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import DataModel, ImageLabelModel
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.exception import ImageNotFoundException

from scripts.predictor import InputError
from scripts.reading.dicom.kinds import NO_IMAGE_MODALITIES

from .caption_store import CaptionStore

logger = logging.getLogger(__name__)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
LIST_SECONDS = 10


class DicomWebCaptionStore(CaptionStore, DICOMWebDatastore):
    """Series are images, their SeriesInstanceUID the id; files are fetched at first use, whole or not at all.

    Args:
        client: of the server.
        search_filter: QIDO-RS filter of the series to offer, such as ``{"Modality": "CT"}``; ``{}`` for all.
        cache_path: where series and captions are kept; MONAI Label's own place by default.
    """

    def __init__(self, *, client: Any, search_filter: dict[str, Any], cache_path: str | None) -> None:
        self._thread_lock = threading.RLock()
        self._listed: tuple[float, list[str]] = (0.0, [])
        super().__init__(client, search_filter, cache_path, convert_to_nifti=False)

    def list_images(self) -> list[str]:
        """SeriesInstanceUIDs on the server, of series that hold images.

        Raises:
            InputError: the server does not answer.
        """
        asked, series = self._listed
        if time.monotonic() - asked > LIST_SECONDS or not asked:
            found = self._ask(self._client.search_for_series, search_filters=self._search_filter)
            series = [_text(item, "0020000E") for item in found if _text(item, "00080060") not in NO_IMAGE_MODALITIES]
            self._listed = (time.monotonic(), series)
        return list(series)

    def get_image_uri(self, image_id: str) -> str:
        """Folder with the files of a series; ``""`` where the server has none of that name."""
        if len(image_id) > 64 or not _UID.fullmatch(image_id):
            return ""
        folder = os.path.realpath(os.path.join(self._datastore.image_path(), image_id))
        with self._thread_lock:
            if not os.path.isdir(folder) and not self._fetch(image_id, folder):
                return ""
            if image_id not in self._datastore.objects:
                self._register(image_id)
        return folder

    find = get_image_uri

    def id_of(self, name: str) -> str:
        return name

    def _fetch(self, image_id: str, folder: str) -> bool:
        """Download a series beside its place and move it there when it is complete."""
        found = self._ask(self._client.search_for_series, search_filters={"SeriesInstanceUID": image_id})
        if not any(_text(item, "0020000E") == image_id for item in found):
            return False
        self.state_folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix="series.", dir=self.state_folder)
        try:
            self._ask(dicom_web_download_series, None, image_id, temporary, self._client, self._fetch_by_frame)
            os.rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return True

    def _register(self, image_id: str) -> None:
        with self._exclusive():
            info = {"ts": int(time.time()), "name": image_id, **self._ask(self._dicom_info, image_id)}
            info.pop("PatientID", None)  # the study and series are enough; nobody's identity in our files
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=""))
            self._update_datastore_file()

    def _need(self, image_id: str) -> None:
        if image_id not in self._datastore.objects and not self.get_image_uri(image_id):
            raise ImageNotFoundException(f"the DICOMweb server has no series {image_id!r}")

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Raises:
        InputError: always; images come from the DICOMweb server.
        """
        raise InputError("images of this server come from DICOMweb: store the DICOM files there")

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        return [{"image": item.image, "label": item.caption} for item in self.reviewed()]

    @staticmethod
    def _ask(function: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except requests.RequestException as error:
            logger.warning("DICOMweb: %s", error)
            raise InputError(
                f"the DICOMweb server did not answer ({type(error).__name__}); check its address"
            ) from None


def _text(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])
