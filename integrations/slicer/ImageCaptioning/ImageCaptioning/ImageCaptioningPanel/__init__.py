"""The parts of the panel: Qt only, the work is in ``ImageCaptioningLib``."""
