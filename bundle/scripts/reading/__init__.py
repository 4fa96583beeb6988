"""Reading medical images, whatever they are: file, folder or archive -> upright pixels and meta.

``sources`` finds out what a path is; ``dicom``, ``volumes`` and ``pictures`` read it; ``orientation`` and ``slices``
choose what to show; ``reader`` is the face. Nothing here imports MONAI.
"""

from scripts import loads_submodules
from scripts.reading.case import CaseImage
from scripts.reading.case_reader import read_case

__all__ = ["CaseImage", "read_case"]

__getattr__ = loads_submodules(__name__)
