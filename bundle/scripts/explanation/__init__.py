"""What each word of a caption rests on: maps over the image from each branch, regions, and a check of faithfulness."""

from .word_maps import Explanation, explain

__all__ = ["Explanation", "explain"]
