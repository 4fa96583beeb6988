"""DICOM: series, pixels, tables, orientation, what headers say."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
