"""DICOM outputs: structured reports, segmentations, encapsulated PDF."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
