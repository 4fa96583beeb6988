"""Errors that are told to a user."""

from __future__ import annotations


class CaptioningError(RuntimeError):
    """One sentence for the user: what did not work, and what to do."""
