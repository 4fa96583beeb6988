"""How sure a caption is: token probabilities, agreement of samples, calibration, and when to say nothing.

python -m scripts.confidence --datalist DIR/datalist.json       # fits bundle/models/calibration.json, with a report
"""

from .agreement import caption_agreement
from .calibration import Calibration, load_calibration
from .rule import ConfidenceRule

__all__ = ["Calibration", "ConfidenceRule", "caption_agreement", "load_calibration"]
