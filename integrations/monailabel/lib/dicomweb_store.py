"""A DICOMweb server (Orthanc, a PACS) as the source of images; captions are kept beside the cached series."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import requests
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import DataModel, ImageLabelModel
from monailabel.interfaces.exception import ImageNotFoundException

from scripts.predictor import InputError
from scripts.reading.dicom.kinds import NO_IMAGE_MODALITIES

from .caption_store import CaptionStore
from .dicomweb_client import CarefulClient, DistrustError

logger = logging.getLogger(__name__)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
LIST_SECONDS = 10
LONGEST = 1_000
_TOLD = {"StudyDate": "00080020", "StudyTime": "00080030", "Modality": "00080060", "RetrieveURL": "00081190",
         "StudyInstanceUID": "0020000D"}  # fmt: skip
"""What our record of a series has of its search: the study and series are enough, nobody's identity."""


class DicomWebCaptionStore(CaptionStore, DICOMWebDatastore):
    """Series are images, their SeriesInstanceUID the id; files are fetched at first use, whole or not at all.

    Args:
        client: of the server, see `lib.dicomweb_client`.
        search_filter: QIDO-RS filter of the series to offer, such as ``{"Modality": "CT"}``; ``{}`` for all.
        cache_path: where series and captions are kept; MONAI Label's own place by default.
    """

    def __init__(self, *, client: CarefulClient, search_filter: dict[str, Any], cache_path: str | None) -> None:
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
            found = self._search(self._search_filter)
            named = [_text(item, "0020000E") for item in found if _text(item, "00080060") not in NO_IMAGE_MODALITIES]
            series = [uid for uid in named if _is_uid(uid)]
            if len(series) < len(named):
                logger.warning("DICOMweb: %d series without a valid UID are left out", len(named) - len(series))
            self._listed = (time.monotonic(), series)
        return list(series)

    def get_image_uri(self, image_id: str) -> str:
        """Folder with the files of a series; ``""`` where the server has none of that name."""
        if not _is_uid(image_id):
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
        found = self._series(image_id)
        study = "" if found is None else _text(found, "0020000D")
        if not _is_uid(study):
            return False
        self.state_folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix="series.", dir=self.state_folder)
        try:
            self._ask(self._client.save_series, study, image_id, Path(temporary))
            os.rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return True

    def _register(self, image_id: str) -> None:
        with self._exclusive():
            found = self._series(image_id) or {}
            told = {name: _text(found, tag)[:LONGEST] or "UNK" for name, tag in _TOLD.items()}
            info = {"ts": int(time.time()), "name": image_id, "SeriesInstanceUID": image_id, **told}
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

    def _series(self, image_id: str) -> dict[str, Any] | None:
        found = self._search({"SeriesInstanceUID": image_id})
        return next((item for item in found if _text(item, "0020000E") == image_id), None)

    def _search(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        found = self._ask(self._client.search_for_series, search_filters=filters)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise InputError("the DICOMweb server answered a search with something else than a list of series")
        return found

    @staticmethod
    def _ask(function: Any, *arguments: Any, **named: Any) -> Any:
        """Whatever a server answers, what is wrong with it becomes a sentence; its own words stay out of it.

        Raises:
            InputError: it does not answer, or not as DICOMweb has it.
        """
        try:
            return function(*arguments, **named)
        except DistrustError as error:
            raise InputError(str(error)) from None
        except requests.exceptions.JSONDecodeError:
            raise InputError("the DICOMweb server's reply is no DICOM JSON; check its address") from None
        except requests.RequestException as error:
            logger.warning("DICOMweb: %s", type(error).__name__)
            raise InputError(
                f"the DICOMweb server did not answer ({type(error).__name__}); check its address"
            ) from None
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise InputError(f"the DICOMweb server's reply cannot be read ({type(error).__name__})") from None


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _text(item: dict[str, Any], tag: str) -> str:
    """The first value of an attribute, "" where there is none or it is not as DICOM JSON has it."""
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return str(values[0]) if isinstance(values, list) and values and isinstance(values[0], str | int) else ""
