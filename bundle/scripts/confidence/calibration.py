"""Calibration: what is known of a caption to the probability that it is right, fitted on validation images.

Two things are right or wrong apart. The **kind**: plane, modality family and organ read off the caption are those of
the reference. The **finding**: it is the reference's. Both are logistic fits, cross-fitted over groups of images when
they are judged; `confidence.evidence` says what speaks for the kind, `confidence.findings` what for a finding.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.confidence.evidence import KIND_FEATURES
from scripts.confidence.findings import FINDING_FEATURES, Fitted, FittedFindings
from scripts.errors import InputError


@dataclass(frozen=True)
class Calibration:
    """Both fits, and the weights they belong to.

    Attributes:
        kind: over some of `KIND_FEATURES`.
        finding: None for a calibration that knows nothing of findings.
        weights: name to SHA-256 of every weight file of the network that made the captions.
        generation: options the captions were made with; other options give other log-probabilities.
        images: how many it was fitted on.
        figures: what the command measured (expected calibration error before and after, ...).
        abstain_below: the least confidence of a caption that is given, where nobody asks for another; 0 gives all.
    """

    kind: Fitted
    finding: FittedFindings | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    images: int = 0
    figures: Mapping[str, Any] = field(default_factory=dict)
    abstain_below: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What :meth:`to_json` gave, or what the versions wrote that knew one feature of the kind alone.

        Raises:
            ValueError, TypeError, KeyError: the text is none of these.
        """
        stored = json.loads(text)
        if not isinstance(stored.get("weights", {}), dict):
            raise ValueError("weights")
        if "slope" in stored:
            kind = Fitted({stored.pop("feature", "confidence"): stored.pop("slope")}, stored.pop("offset"))
            stored.pop("target", None)
            return cls(_known(kind, KIND_FEATURES), **stored)
        kind = _known(Fitted(**stored.pop("kind")), KIND_FEATURES)
        finding = stored.pop("finding", None)
        finding = None if finding is None else _known(FittedFindings(**finding), FINDING_FEATURES)
        return cls(kind, finding, **stored)


def _known(fitted: Any, features: tuple[str, ...]) -> Any:
    if not set(fitted.weights) <= set(features):
        raise ValueError(", ".join(fitted.weights))
    if not all(_is_number(value) for value in (*fitted.weights.values(), fitted.offset)):
        raise ValueError("weights and offset are numbers")
    threshold = getattr(fitted, "threshold", None)
    if threshold is not None and not _is_number(threshold):
        raise ValueError("the threshold is a number")
    return fitted


def load_calibration(path: str | Path, weights: Mapping[str, str] | None = None) -> Calibration | None:
    """The calibration in a file; None, with a warning, where it was fitted for other weights; None without a file.

    Raises:
        InputError: the file is no calibration.
    """
    path = Path(path)
    if not str(path) or not path.is_file():
        return None
    try:
        calibration = Calibration.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is no calibration ({type(error).__name__}): run python -m scripts.studies.calibrate"
        ) from None
    if weights is not None and dict(calibration.weights) != dict(weights):
        others = [
            name for name in {**weights, **calibration.weights} if weights.get(name) != calibration.weights.get(name)
        ]
        warnings.warn(
            f"{path.name} was fitted for other weights ({', '.join(sorted(others))}) and is not used: "
            "run python -m scripts.studies.calibrate again",
            stacklevel=2,
        )
        return None
    return calibration


def _is_number(value: Any) -> bool:
    """A finite one; JSON in Python also reads NaN and Infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
