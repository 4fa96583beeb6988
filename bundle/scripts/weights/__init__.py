"""Weights: files, loading, saving, the starter's wheels, GGUF."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
