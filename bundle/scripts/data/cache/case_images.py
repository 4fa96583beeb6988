"""Images of the cases that a feature cache encodes, and the sentences for those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.transforms import Compose, Randomizable

from scripts.data.cache.key import digest
from scripts.data.datalist import image_paths
from scripts.errors import InputError


class CaseImages(torch.utils.data.Dataset):
    """Reads and transforms the image of each job; gives the reason as text where that fails."""

    def __init__(
        self, jobs: Sequence[Any], transform: Callable[[dict[str, Any]], dict[str, Any]], seed: int | None
    ) -> None:
        self._jobs, self._transform, self._seed = jobs, transform, seed

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, number: int) -> tuple[int, torch.Tensor | str]:
        item, view, key = self._jobs[number]
        if not key:
            return number, "the file does not exist"
        try:
            if self._seed is not None:
                seed = int(digest([self._seed, key, view])[:8], 16)
                self._transform.set_random_state(seed=seed)
            image = torch.as_tensor(self._transform(dict(item))["image"])
            return number, image[None] if image.ndim == 3 else image
        except Exception as error:  # one bad file must not stop the others
            return number, failure_reason(error)


def draws_at_random(transform: Any) -> bool:
    """Whether a transform, or one inside a ``Compose``, is random."""
    if isinstance(transform, Compose):
        return any(draws_at_random(part) for part in transform.transforms)
    return isinstance(transform, Randomizable)


def failure_reason(error: BaseException) -> str:
    """The first sentence a user can act on: an InputError anywhere in the chain, else the innermost error."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    for link in chain:
        if isinstance(link, InputError):
            return str(link)
    return f"{type(chain[-1]).__name__}: {chain[-1]}"


def failure_sentence(failed: list[tuple[str, str]]) -> str:
    shown = "; ".join(f"{name}: {reason}" for name, reason in failed[:10])
    more = f" and {len(failed) - 10} more" if len(failed) > 10 else ""
    return (
        f"{len(failed)} images could not be encoded ({shown}{more}); remove them or set skip_failed to go on without."
    )


def case_name(item: dict[str, Any]) -> str:
    paths = image_paths(item)
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more views"


def readable_size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
