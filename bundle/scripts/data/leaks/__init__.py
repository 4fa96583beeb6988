"""Images that stand on both sides: found by content, by archive number and by look, reported or left out."""

from .archive_ids import archive_ids
from .bank import Bank, Pair, same_images
from .exclude import Excluder
from .report import LeakReport, leak_report

__all__ = ["Bank", "Excluder", "LeakReport", "Pair", "archive_ids", "leak_report", "same_images"]
