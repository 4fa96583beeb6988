"""What leaves the program: captions as JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError

__all__ = ["check_requested"]


def check_requested(outputs: Sequence[str], explain: bool) -> None:
    """Refuse what this version cannot write, before any work.

    Raises:
        InputError: an output other than ``jsonl``, or explanations.
    """
    unknown = [name for name in outputs if name != "jsonl"]
    if unknown:
        raise InputError(f"outputs {unknown} cannot be written by this version: use outputs ['jsonl']")
    if explain:
        raise InputError("explanations cannot be written by this version: leave explain at false")
