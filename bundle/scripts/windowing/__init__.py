"""Windowing: physical values -> [0, 1], three channels, square. See `window_image` and the dictionary transforms."""

from scripts.windowing.letterbox import letterbox
from scripts.windowing.presets import COMPOSITES, CT_PRESETS, Window
from scripts.windowing.transforms import Letterboxd, LoadCased, WindowToUnitd
from scripts.windowing.window import window_image

__all__ = [
    "COMPOSITES",
    "CT_PRESETS",
    "Letterboxd",
    "LoadCased",
    "Window",
    "WindowToUnitd",
    "letterbox",
    "window_image",
]
