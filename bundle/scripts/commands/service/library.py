"""Images that the service itself handed out: samples, uploads, and what lies in the served folder.

A request names one by ``image:`` and a word that nobody can guess; of a path that a client made up nothing is read.
"""

from __future__ import annotations

import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from scripts.commands.samples import write_samples
from scripts.commands.service.inside import inside
from scripts.commands.service.refusals import RefusedError
from scripts.commands.service.uploads import Uploads
from scripts.data.datalist import inference_items
from scripts.errors import InputError

PREFIX = "image:"
MAX_HANDED = 200_000


@dataclass(frozen=True)
class Handed:
    """An image that was handed out.

    Attributes:
        id: its name in requests.
        name: what people call it.
        path: where it lies.
        upload: token of the upload that it is part of, "" for others.
    """

    id: str
    name: str
    path: str
    upload: str = ""


class Library:
    """What may be asked for.

    Args:
        root: the served folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads = Uploads()
        self._handed: OrderedDict[str, Handed] = OrderedDict()
        self._samples: list[Handed] = []
        self._sample_folder: tempfile.TemporaryDirectory[str] | None = None
        self._of_path: dict[str, Handed] = {}

    def hand_out(self, name: str, path: str, upload: str = "") -> Handed:
        """A name for an image; the same for the same path."""
        if path in self._of_path:
            return self._of_path[path]
        handed = Handed(PREFIX + secrets.token_urlsafe(16), name, path, upload)
        self._handed[handed.id] = self._of_path[path] = handed
        while len(self._handed) > MAX_HANDED:
            _, oldest = self._handed.popitem(last=False)
            self._of_path.pop(oldest.path, None)
        return handed

    def get(self, name: str) -> Handed:
        """An image by its id.

        Raises:
            RefusedError: none was handed out under it, or its files are gone.
        """
        handed = self._handed.get(name)
        if handed is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "this image is not known here any more: open it again")
        if handed.upload:
            self.uploads.get(handed.upload)
        else:
            Path(handed.path.removesuffix("::series")).stat()
        return handed

    def samples(self) -> list[Handed]:
        """The sample images, written at the first call."""
        if self._sample_folder is None:
            self._sample_folder = tempfile.TemporaryDirectory(prefix="msmedcap_", ignore_cleanup_errors=True)
            self._samples = [self.hand_out(path.name, str(path)) for path in write_samples(self._sample_folder.name)]
        return self._samples

    def served(self) -> list[Handed]:
        """Every case of the served folder; what links lead out of it is left out."""
        try:
            found = [item["image"] for item in inference_items(self.root)]
        except InputError:
            return []
        cases = []
        for path in found:
            name = str(Path(path).relative_to(self.root)) if Path(path).is_relative_to(self.root) else ""
            try:
                inside(self.root, name.removesuffix("::series"))
            except RefusedError:
                continue
            cases.append(self.hand_out(name.removesuffix("::series"), path))
        return cases

    def close(self) -> None:
        self.uploads.close()
        if self._sample_folder is not None:
            self._sample_folder.cleanup()
