"""Errors that a user can cause, each carrying one sentence that names the thing and the remedy."""

from __future__ import annotations


class InputError(ValueError):
    """A file, folder, datalist or option that cannot be used; the message names it and says what to do."""


class WeightsError(RuntimeError):
    """Weights that are absent, damaged, or do not fit the network; the message names the file or key."""
