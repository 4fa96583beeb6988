"""Physical values to [0, 1]: three channels, square. Pure functions; nothing here imports MONAI."""

from scripts import loads_submodules
from scripts.windowing.letterbox import letterbox
from scripts.windowing.presets import COMPOSITES, CT_PRESETS, Window
from scripts.windowing.window import window_image

__all__ = ["COMPOSITES", "CT_PRESETS", "Window", "letterbox", "window_image"]

__getattr__ = loads_submodules(__name__)
