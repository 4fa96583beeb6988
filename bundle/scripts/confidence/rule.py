"""Rule of confidence: judges each record, leaves out findings that nothing bears out, withholds unsure captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.concepts.fields import split_finding, with_finding
from scripts.confidence.calibration import load_calibration
from scripts.confidence.evidence import Evidence, kind_evidence, similar_agreement
from scripts.confidence.findings import Candidate, candidates
from scripts.confidence.sample_agreement import caption_agreement
from scripts.errors import InputError

FINDINGS = ("always", "supported", "never")
LIKELIER = 0.1  # least chance of what stands in place of the network's finding: below it, chances tell next to nothing


class ConfidenceRule:
    """Judges records: ``confidence``, ``findings``, ``finding_confidence``, ``similar``, ``agreement``, ``abstained``.

    ``confidence`` is the calibrated probability that plane, kind and organ of a caption are right. One that is less
    sure than ``abstain_below`` (without a calibration, by the geometric mean of its token probabilities) is withheld:
    ``caption`` and ``tokens`` are null, ``abstained`` is true, ``withheld`` says why, ``error`` stays null. Nobody can
    then act on words that the model itself doubts.

    A caption's finding has a probability of its own. Unless it is stated ``always``, the sentence ends before a finding
    that is less probable than the threshold, and ``written`` keeps what the network wrote. Words that were given with
    the image stay: who begins a sentence with "CT of the chest with no" asks for its end.

    Args:
        calibration: file that ``scripts.studies.calibrate`` wrote; ignored with a warning where it was fitted for other
            weights, and without one where it does not exist.
        weights: name to SHA-256 of the network's weight files.
        abstain_below: 0 withholds nothing; None takes the calibration's, and 0 without one.
        findings: ``supported`` states the likeliest candidate where it is likely enough, ``never`` none, ``always``
            what the network wrote, or a candidate that is likelier and has a chance of `LIKELIER`.
        finding_threshold: the least probability of a supported finding; None takes the calibration's. Without a
            calibration no finding is supported.

    Raises:
        InputError: a value cannot be used, or the calibration file is damaged.
    """

    def __init__(
        self,
        *,
        calibration: str | Path = "",
        weights: Mapping[str, str] | None = None,
        abstain_below: float | None = None,
        findings: str = "supported",
        finding_threshold: float | None = None,
    ) -> None:
        if abstain_below is not None and not 0 <= float(abstain_below) <= 1:
            raise InputError(f"abstain_below is a confidence from 0 to 1, or null, not {abstain_below}")
        if findings not in FINDINGS:
            raise InputError(f"findings is one of {', '.join(FINDINGS)}, not {findings!r}")
        if finding_threshold is not None and not 0 <= float(finding_threshold) <= 1:
            raise InputError(f"finding_threshold is a probability from 0 to 1, or null, not {finding_threshold}")
        self.findings = findings
        self.calibration = load_calibration(calibration, weights) if str(calibration) else None
        usual = 0.0 if self.calibration is None else self.calibration.abstain_below
        self.abstain_below = float(usual if abstain_below is None else abstain_below)
        fitted = None if self.calibration is None else self.calibration.finding
        self.threshold = finding_threshold if finding_threshold is not None or fitted is None else fitted.threshold

    def apply(
        self, record: Mapping[str, Any], samples: Sequence[str] = (), evidence: Evidence | None = None
    ) -> dict[str, Any]:
        """The record judged, and withheld where it is not sure enough; see :meth:`judge`."""
        return self.withhold(self.judge(record, samples, evidence))

    def judge(
        self, record: Mapping[str, Any], samples: Sequence[str] = (), evidence: Evidence | None = None
    ) -> dict[str, Any]:
        """The record with what is known of its certainty; its caption says no finding that nothing bears out.

        Args:
            record: of a caption as the network wrote it.
            samples: captions drawn for the same image.
            evidence: what else is known of it; by default its own words.
        """
        judged = {**record, "written": record["caption"], "confidence": None, "finding_confidence": None}
        judged |= {"findings": [], "similar": [], "agreement": None, "abstained": bool(record.get("withheld"))}
        judged |= {"seen": None, "similar_agreement": None}
        if record["caption"] is None:
            return judged
        evidence = evidence or Evidence([record["caption"]], [0.0])
        agree = similar_agreement(record["caption"], evidence.cases)
        judged["seen"] = None if evidence.seen is None else round(evidence.seen, 6)
        judged["similar_agreement"] = None if agree is None else round(agree, 6)
        judged["confidence"] = self._kind(judged)
        agreement = caption_agreement(_own_words(record), samples)
        judged["agreement"] = None if agreement is None else round(agreement, 6)
        self._state(judged, evidence)
        return judged

    def withhold(self, judged: Mapping[str, Any]) -> dict[str, Any]:
        """A judged record without its words where they are less sure than ``abstain_below``."""
        if judged["caption"] is None or self.abstain_below == 0:
            return dict(judged)
        sure = judged["confidence"] if judged["confidence"] is not None else judged["token_confidence"]
        if sure is not None and sure >= self.abstain_below:
            return dict(judged)
        why = f"not sure enough: {sure or 0:.0%} likely right, asked for are {self.abstain_below:.0%}"
        silent = {"caption": None, "tokens": None, "written": None}
        return {**judged, **silent, "abstained": True, "withheld": why}

    def spoken(self, text: str) -> str:
        """What may be shown of a caption that is still growing: no finding that nobody has judged yet."""
        return text if self._unjudged else split_finding(text)[0]

    @property
    def _unjudged(self) -> bool:
        """Whether findings are those that the network writes, whatever they are."""
        return self.findings == "always" and (self.calibration is None or self.calibration.finding is None)

    def told(self, text: str) -> str:
        """What may be told of a whole caption of which only the text is known: no finding that nobody has judged."""
        before, finding = split_finding(text)
        return text if finding is None or self.findings == "always" else with_finding(before, None)

    def _kind(self, record: Mapping[str, Any]) -> float | None:
        known = kind_evidence(record)
        if self.calibration is None or not set(self.calibration.kind.weights) <= set(known):
            return None
        return round(self.calibration.kind.probability(known), 6)

    def _state(self, judged: dict[str, Any], evidence: Evidence) -> None:
        """Put the findings into the record, and make the caption one that states what is supported."""
        text = judged["caption"]
        before, written = split_finding(text)
        given = len(before) < len(judged.get("prompt") or "")  # the words of the prompt have begun the finding
        found = [self._judged(one) for one in candidates(text, evidence.finding_shares(), evidence.cases)]
        found.sort(key=lambda one: -(one.probability or 0.0))
        stated = written if given else self._chosen(written, found)
        found = [replace(one, stated=one.finding == stated) for one in found]
        judged["findings"] = [one.told() for one in found]
        judged["similar"] = [case.told() for case in evidence.cases]
        chance = next((one.probability for one in found if one.stated), None)
        judged["finding_confidence"] = None if chance is None else round(chance, 4)
        if stated != written:
            judged["caption"] = with_finding(before, stated)
            kept = _tokens_of(before, judged.get("prompt") or "", judged["tokens"] or ())
            judged["tokens"] = None if judged["tokens"] is None else judged["tokens"][:kept]
            judged["token_logprobs"] = (judged["token_logprobs"] or [])[:kept] or None

    def _judged(self, one: Candidate) -> Candidate:
        fitted = None if self.calibration is None else self.calibration.finding
        return one if fitted is None else replace(one, probability=fitted.probability(one.evidence))

    def _chosen(self, written: str | None, found: Sequence[Candidate]) -> str | None:
        """What is stated, of candidates in the order of their chances."""
        always = self.findings == "always"
        least = LIKELIER if always else self.threshold
        if found and least is not None and self.findings != "never" and (found[0].probability or 0.0) >= least:
            return found[0].finding
        return written if always else None


def _tokens_of(before: str, prompt: str, tokens: Sequence[str]) -> int:
    """How many of a caption's tokens make the words that it keeps."""
    own = "".join(before.removeprefix(" ".join(prompt.split())).split())
    said = ""
    for number, token in enumerate(tokens):
        said += "".join(token.split())
        if len(said) > len(own):
            return number
    return len(tokens)


def _own_words(record: Mapping[str, Any]) -> str:
    """What the network wrote: it cannot disagree about words that were given to it."""
    return str(record["caption"]).removeprefix(record.get("prompt") or "").strip()
