"""From a prefix to captions: greedy, beams, diverse beams, sampling, streaming."""

from scripts import loads_submodules
from scripts.generation.generator import Generator
from scripts.generation.options import Generated, GenerationOptions, Step

__all__ = ["Generated", "GenerationOptions", "Generator", "Step"]

__getattr__ = loads_submodules(__name__)
