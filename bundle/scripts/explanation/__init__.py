"""Places that each word of a caption rests on: maps over the image for each branch, regions, masks, faithfulness."""

from scripts import loads_submodules
from scripts.explanation.word_maps import Explanation, explain

__all__ = ["Explanation", "explain"]

__getattr__ = loads_submodules(__name__)
