"""What a user is told."""

from __future__ import annotations


class CaptioningError(RuntimeError):
    """One sentence for the user: what did not work, and what to do."""
