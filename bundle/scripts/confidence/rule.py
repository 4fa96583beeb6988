"""Rule of confidence: judges each record, and withholds captions that are not sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.confidence.calibration import evidence, load_calibration
from scripts.confidence.sample_agreement import caption_agreement
from scripts.errors import InputError

__all__ = ["ConfidenceRule"]


class ConfidenceRule:
    """Adds ``calibrated_confidence``, ``agreement`` and ``abstained`` to records of captions.

    A caption whose confidence (the calibrated one where there is a calibration, else the geometric mean of its token
    probabilities) is below ``abstain_below`` is withheld: ``caption`` and ``tokens`` are null, ``abstained`` is true,
    ``withheld`` says why, ``error`` stays null. Nobody can then act on words that the model itself doubts.

    Args:
        calibration: file that ``scripts.studies.calibrate`` wrote; ignored with a warning where it was fitted for other
            weights, and without one where it does not exist.
        weights: name to SHA-256 of the network's weight files.
        abstain_below: 0 withholds nothing.

    Raises:
        InputError: ``abstain_below`` is not in [0, 1], or the calibration file is damaged.
    """

    def __init__(
        self, *, calibration: str | Path = "", weights: Mapping[str, str] | None = None, abstain_below: float = 0.0
    ) -> None:
        if not 0 <= float(abstain_below) <= 1:
            raise InputError(f"abstain_below is a confidence from 0 to 1, not {abstain_below}")
        self.abstain_below = float(abstain_below)
        self.calibration = load_calibration(calibration, weights) if str(calibration) else None

    def apply(self, record: Mapping[str, Any], samples: Sequence[str] = ()) -> dict[str, Any]:
        """The record with what is known of its certainty; ``samples``: captions drawn for the same image."""
        judged = dict(record)
        if record["caption"] is None:
            return {
                **judged,
                "calibrated_confidence": None,
                "agreement": None,
                "abstained": bool(record.get("withheld")),
            }
        judged["calibrated_confidence"] = None
        found = evidence(record, self.calibration.feature) if self.calibration is not None else None
        if found is not None:
            judged["calibrated_confidence"] = round(float(self.calibration.probability(found)), 6)
        agreement = caption_agreement(_written(record), samples)
        judged["agreement"] = None if agreement is None else round(agreement, 6)
        sure = judged["calibrated_confidence"]
        sure = record["confidence"] if sure is None else sure
        judged["abstained"] = bool(self.abstain_below > 0 and (sure is None or sure < self.abstain_below))
        if judged["abstained"]:
            judged["caption"] = judged["tokens"] = None
            judged["withheld"] = (
                f"not sure enough: {sure or 0:.0%} likely right, asked for are {self.abstain_below:.0%}"
            )
        return judged


def _written(record: Mapping[str, Any]) -> str:
    """What the network wrote: it cannot disagree about words that were given to it."""
    return str(record["caption"]).removeprefix(record.get("prompt") or "").strip()
