"""Generation: prefix embeddings to captions by greedy search, beams, diverse beams or sampling."""

from scripts import loads_submodules
from scripts.generation.generator import Generator
from scripts.generation.options import Generated, GenerationOptions, Step

__all__ = ["Generated", "GenerationOptions", "Generator", "Step"]

__getattr__ = loads_submodules(__name__)
