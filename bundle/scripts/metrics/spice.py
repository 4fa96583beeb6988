"""SPICE (Anderson et al., ECCV 2016) through its Java program, where everything that it needs is installed.

The program needs the CoreNLP 3.6.0 code and models beside its jar (`pycocoevalcap` downloads them on first use; this
module never downloads) and, from Java 16 on, packages opened by hand, which is done here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.errors import InputError
from scripts.metrics.statistic import Statistic, mean_statistic
from scripts.metrics.versions import installed_file

MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_OPENED = ("java.lang", "java.util", "java.math", "java.nio")
_SECONDS = 1800


def spice_jar() -> Path | None:
    """Where `spice-1.0.jar` is installed, or None."""
    return installed_file("pycocoevalcap", "spice/spice-1.0.jar")


def why_no_spice() -> str | None:
    """One sentence saying what is missing for SPICE, or None where it can run."""
    if shutil.which("java") is None:
        return "SPICE needs Java (8 or later) on the PATH"
    jar = spice_jar()
    if jar is None:
        return "SPICE needs `pip install pycocoevalcap==1.2`, which carries spice-1.0.jar"
    missing = [name for name in MODELS if not (jar.parent / "lib" / name).is_file()]
    if missing:
        return f"SPICE needs {' and '.join(missing)} (Stanford CoreNLP 3.6.0) in {jar.parent.name}/lib beside its jar"
    return None


def spice(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Statistic:
    """Mean SPICE F of N captions; takes raw captions, its parser tokenises.

    Raises:
        InputError: something is missing, or the program failed.
    """
    missing = why_no_spice()
    jar = spice_jar()
    if missing or jar is None:
        raise InputError(missing or "SPICE's jar is missing")
    pairs = zip(predictions, references, strict=True)
    entries = [{"image_id": i, "test": p, "refs": list(group)} for i, (p, group) in enumerate(pairs)]
    opened = [option for name in _OPENED for option in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")]
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "in.json", Path(folder) / "out.json"
        source.write_text(json.dumps(entries), encoding="utf-8")
        command = ["java", *opened, "-Xmx8G", "-jar", str(jar), str(source), "-out", str(result), "-silent"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        if not result.is_file():
            reason = (run.stderr.strip() or "no message").splitlines()[-1]
            raise InputError(f"SPICE's Java program failed: {reason}")
        return mean_statistic("SPICE", read_scores(json.loads(result.read_text(encoding="utf-8"))), "F")


def read_scores(content: Sequence[dict]) -> np.ndarray:
    """F of each image `[N]` from the program's JSON, ordered by `image_id`; NaN where it gave none."""
    ordered = sorted(content, key=lambda entry: entry["image_id"])
    values = [entry["scores"]["All"]["f"] for entry in ordered]
    return np.array([float("nan") if value is None else float(value) for value in values])
