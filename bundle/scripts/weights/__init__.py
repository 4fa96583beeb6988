"""Weights: ``starter`` fetches and verifies what the starter preset needs; ``gguf`` converts its language model."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
