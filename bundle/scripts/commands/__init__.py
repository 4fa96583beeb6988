"""Commands: what ``python -m scripts.commands.NAME`` starts."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
