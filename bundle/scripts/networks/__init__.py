"""The method: Q-Former, branch, losses, pre-training network (stage 1), language model, caption network (stage 2)."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
