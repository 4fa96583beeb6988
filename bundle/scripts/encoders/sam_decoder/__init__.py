"""SAM's prompt encoder and mask decoder."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
