"""Origin of captions: trace, timing, hashes of weights."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
