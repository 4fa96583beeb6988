"""Image encoders: ``[B, 3, H, W]`` in [0, 1] -> tokens ``[B, N, C]``, frozen, resizing and normalising inside."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
