"""Layouts of others (BLIP-2, LAVIS, MSMedCap, BERT) and the hand-over between stages."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
