"""Confidence in captions: calibrated doubts of kind and of finding, agreement of samples, the rule that leaves out.

python -m scripts.studies.calibrate --datalist DIR/datalist.json  # fits models/calibration.json, with a report
"""

from scripts import loads_submodules
from scripts.confidence.calibration import Calibration, load_calibration
from scripts.confidence.rule import ConfidenceRule
from scripts.confidence.sample_agreement import caption_agreement

__all__ = ["Calibration", "ConfidenceRule", "caption_agreement", "load_calibration"]

__getattr__ = loads_submodules(__name__)
