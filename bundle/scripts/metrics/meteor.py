"""METEOR 1.5 (Denkowski and Lavie, 2014) through its Java program, where the optional package `pycocoevalcap` has it.

The program aligns each pair and reports counts; the score is computed here from those counts (the English settings
of version 1.5), so that one run gives the corpus score, the score of each image and the bootstrap.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.errors import InputError
from scripts.metrics.statistic import Statistic
from scripts.metrics.versions import installed_file

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MODULE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact word, stem, synonym, paraphrase

Tokens = Sequence[str]


def meteor_jar() -> Path | None:
    """Where `meteor-1.5.jar` is installed, or None."""
    return installed_file("pycocoevalcap", "meteor/meteor-1.5.jar")


def why_no_meteor() -> str | None:
    """One sentence saying what is missing for METEOR, or None where it can run."""
    if shutil.which("java") is None:
        return "METEOR needs Java (8 or later) on the PATH"
    if meteor_jar() is None:
        return "METEOR needs `pip install pycocoevalcap==1.2`, which carries meteor-1.5.jar"
    return None


def _line(candidate: Tokens, references: Sequence[Tokens]) -> str:
    parts = [" ".join(reference) for reference in references] + [" ".join(candidate)]
    return "SCORE ||| " + " ||| ".join(" ".join(part.replace("|||", "").split()) for part in parts)


def meteor(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Statistic:
    """Corpus METEOR of N candidates, each against its own references.

    Raises:
        InputError: Java or the jar is missing, or the program failed.
    """
    missing = why_no_meteor()
    if missing:
        raise InputError(missing)
    lines = [_line(c, r) for c, r in zip(candidates, references, strict=True)]
    command = ["java", "-Xmx2G", "-jar", str(meteor_jar()), "-", "-", "-stdio", "-l", "en", "-norm"]
    result = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, encoding="utf-8")
    rows = [np.array(line.split(), float) for line in result.stdout.splitlines() if line.strip()]
    if len(rows) != len(lines):
        reason = (result.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"METEOR's Java program scored {len(rows)} of {len(lines)} captions: {reason}")
    return Statistic("METEOR", _without_perfect_chunks(np.array(rows)), _finish, "1.5, Java, English")


def _without_perfect_chunks(rows: np.ndarray) -> np.ndarray:
    """A perfect match is one chunk in the counts and none in the sum over the corpus."""
    perfect = (rows[:, 21] == rows[:, 0]) & (rows[:, 22] == rows[:, 1]) & (rows[:, 20] == 1)
    rows[perfect, 20] = 0.0
    return rows


def _finish(sums: np.ndarray) -> np.ndarray:
    """Score of summed counts `[..., 23]`.

    Columns: candidate and reference length, function words in each, then for each of four matchers (content words in
    candidate, in reference, function words in candidate, in reference), chunks, matched words in each.
    """
    sums = np.asarray(sums, float)
    test_length, reference_length, test_function, reference_function = (sums[..., i] for i in range(4))
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    chunks, test_matches, reference_matches = sums[..., 20], sums[..., 21], sums[..., 22]
    test_hits = (MODULE_WEIGHTS * (DELTA * stages[..., 0] + (1 - DELTA) * stages[..., 2])).sum(-1)
    reference_hits = (MODULE_WEIGHTS * (DELTA * stages[..., 1] + (1 - DELTA) * stages[..., 3])).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = test_hits / (DELTA * (test_length - test_function) + (1 - DELTA) * test_function)
        recall = reference_hits / (DELTA * (reference_length - reference_function) + (1 - DELTA) * reference_function)
        mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall)
        matched = (test_matches + reference_matches) / 2
        score = mean * (1.0 - GAMMA * (chunks / matched) ** BETA)
    return np.nan_to_num(score, nan=0.0, posinf=0.0, neginf=0.0)
