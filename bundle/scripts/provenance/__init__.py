"""Where a caption comes from: trace, timing, origin."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
