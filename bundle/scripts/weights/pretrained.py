"""``from_pretrained`` that leaves no gaps: what a checkpoint lacks is an error, not drawn at random."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from scripts.errors import WeightsError
from scripts.weights.loading import LoadReport

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # takes seconds: imported with the first model

# What damaged configurations, indices, safetensors and pickles (which are refused where they hold code) raise.
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError, UnpicklingError, SafetensorError)


def load_pretrained(
    model_class: Any, name: str, *, part: str = "", optional: Sequence[str] = (), **options: Any
) -> tuple[PreTrainedModel, LoadReport]:
    """A complete model of ``transformers`` from a folder or hub name, in one file or in shards.

    Args:
        model_class: a model class of ``transformers``, or one of its ``Auto`` classes.
        name: folder or hub name.
        part: what precedes this model's names in the file of a larger one, such as ``"vision_model."``; for messages.
        optional: patterns of names that may be absent, because nothing here reads them.
        options: for ``from_pretrained``.

    Raises:
        WeightsError: it cannot be had or read, is another kind of model, or lacks a weight; the message names the
            first as the file would.
    """
    kind = model_class.__name__
    try:
        with _quietly():
            model, found = model_class.from_pretrained(name, output_loading_info=True, **options)
    except _UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = "folder" if Path(name).exists() else "hub name"
        raise WeightsError(
            f"the {where} {name} cannot be loaded as {kind} ({reason}): give a hub name that can be reached from here "
            "or the folder of a downloaded model"
        ) from error
    unused, absent = sorted(found["unexpected_keys"]), sorted(found["missing_keys"])
    needed = [key for key in absent if not any(fnmatch.fnmatchcase(key, pattern) for pattern in optional)]
    if needed:
        first = (part if unused else "") + needed[0]
        raise WeightsError(f"{name} lacks {len(needed)} weights of {kind}, {first!r} first: another model or damaged")
    values = {key: value for key, value in model.state_dict().items() if key not in absent}
    return model, LoadReport(
        source=f"{name} ({type(model).__name__})",
        loaded=list(values),
        parameters=sum(value.numel() for value in values.values()),
        random=absent,
        unused=unused,
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without ``transformers``' own table: a vision encoder leaves every text weight unused."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
