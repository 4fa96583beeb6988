"""Clinical scores: whether a caption states the right findings, each for the kind of image that it was made for."""

from scripts.metrics.clinical.chest_findings import ChestFindingF1
from scripts.metrics.clinical.chexbert import CheXbertF1
from scripts.metrics.clinical.interface import CLINICAL, ClinicalScore, clinical_scores, register
from scripts.metrics.clinical.radgraph import RadGraphF1

for _score in (ChestFindingF1(), RadGraphF1(), CheXbertF1()):
    register(_score)

__all__ = ["CLINICAL", "CheXbertF1", "ChestFindingF1", "ClinicalScore", "RadGraphF1", "clinical_scores", "register"]
