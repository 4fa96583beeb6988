"""Studies of the shipped captioner: faithfulness of explanations, calibration of confidence."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
