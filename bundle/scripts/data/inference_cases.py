"""Cases to caption: a broken file becomes an item that carries its reason, and the rest of the batch goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from scripts.data.collate import collate_cases
from scripts.data.datalist import first_section, inference_items, is_datalist, load_datalist
from scripts.errors import InputError, user_cause

logger = logging.getLogger(__name__)


def cases(dataset_dir: str, *, datalist: str = "", section: str = "") -> Sequence[dict[str, Any]]:
    """What to caption: the section of ``datalist`` where one is given, else what ``dataset_dir`` holds.

    A file that is absent, and a folder without images, stay in the list as cases: each gets a line with its reason in
    ``captions.jsonl``. Only a datalist that is itself wrong is refused.

    Raises:
        InputError: the datalist cannot be used, or one of its paths leaves its folder.
    """
    path = Path(datalist or dataset_dir)
    if is_datalist(path):
        root = dataset_dir if datalist else path.parent
        return load_datalist(path, section=section or first_section(path), dataset_dir=root, check_files=False)
    try:
        return inference_items(path)
    except InputError:
        return [{"image": str(path)}]


class InferenceDataset(Dataset):
    """Items through a transform, where each failure is kept as ``{"source": ..., "error": sentence}``.

    Args:
        data: datalist items with ``image``.
        transform: to the network's input.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable[[dict], dict]) -> None:
        self.data = data
        self.transform = transform
        self._first = 0

    def resume_at(self, first: int) -> None:
        """Leave out the cases before ``first``, which an interrupted run has done."""
        self._first = first

    def __len__(self) -> int:
        return len(self.data) - self._first

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.data[self._first + index]
        source = item["image"]
        try:
            return {**self.transform(dict(item)), "source": source}
        except Exception as error:  # whatever a damaged file provokes, its neighbours are still captioned
            return {"source": source, "error": self._sentence(source, error)}

    @staticmethod
    def _sentence(source: Any, error: Exception) -> str:
        """One sentence that names the file."""
        if (cause := user_cause(error)) is not None:
            return " ".join(str(cause).split())
        logger.debug("unexpected failure on %s", source, exc_info=error)
        return f"{source}: could not be read as an image ({type(error).__name__}): check that the file is complete."


def collate_inference(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Batch the readable items; ``records`` keeps every item's source and error in order."""
    readable = [item for item in items if "error" not in item]
    records = [{"source": item["source"], "error": item.get("error"), "meta": item.get("image_meta")} for item in items]
    batch = (
        collate_cases([{k: v for k, v in item.items() if k != "image_meta"} for item in readable]) if readable else {}
    )
    return {**batch, "records": records}
