"""The feature cache: encoder tokens on disk, computed once."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
