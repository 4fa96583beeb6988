"""Images that stand on both sides: found by content, by archive number and by look, reported or left out."""

from scripts.data.leaks.archive_ids import archive_ids
from scripts.data.leaks.bank import Bank, Pair, same_images
from scripts.data.leaks.exclude import Excluder
from scripts.data.leaks.leak_report import LeakReport, leak_report

__all__ = ["Bank", "Excluder", "LeakReport", "Pair", "archive_ids", "leak_report", "same_images"]
