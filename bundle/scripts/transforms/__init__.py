"""MONAI's dictionary transforms: files to images, views, captions, mirroring.

Loaded at first use: a start without MONAI takes `preprocessing` and `views` from here and nothing else.
"""

from scripts import loads_submodules

MODULES = {
    "DecodeCaptiond": "captions",
    "EachViewd": "each_view",
    "Letterboxd": "image_steps",
    "LoadCased": "image_steps",
    "MedicalImageReader": "image_reader",
    "RandMirrord": "mirror",
    "TokenizeCaptiond": "captions",
    "WindowToUnitd": "image_steps",
    "clean_caption": "captions",
}
"""Name -> module of this package."""

__getattr__ = loads_submodules(__name__, MODULES)
