"""Clinical scores: whether a caption states the right findings, each for the kind of image that it was made for."""

from .chest_findings import ChestFindingF1
from .chexbert import CheXbertF1
from .interface import CLINICAL, ClinicalScore, clinical_scores, register
from .radgraph import RadGraphF1

for _score in (ChestFindingF1(), RadGraphF1(), CheXbertF1()):
    register(_score)

__all__ = ["CLINICAL", "CheXbertF1", "ChestFindingF1", "ClinicalScore", "RadGraphF1", "clinical_scores", "register"]
