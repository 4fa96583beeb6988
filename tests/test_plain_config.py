"""Captioning without importing MONAI or transformers: the same caption, nothing of the short cut left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.commands.samples import write_samples
from scripts.plain_config import NotPlainError, PlainConfig

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from scripts.predictor import CaptionPredictor
predictor = CaptionPredictor.from_bundle(sys.argv[1], num_beams=1, max_new_tokens=6, device="cpu")
record = predictor.caption(sys.argv[2]).record
light = not any(name.partition(".")[0] in ("monai", "transformers") for name in sys.modules)
if sys.argv[3] == "then monai":
    import monai.transforms
    import scripts.windowing, scripts.reading
    real = issubclass(scripts.transforms.LoadCased, monai.transforms.MapTransform)
    real = real and issubclass(scripts.transforms.MedicalImageReader, monai.data.ImageReader)
    again = predictor.caption(sys.argv[2]).record
    print(json.dumps([light, real, again == record, record]))
else:
    print(json.dumps([light, record]))
"""


def test_the_short_cut_changes_no_caption_and_leaves_nothing_behind(bundle_root: Path, tmp_path: Path) -> None:
    path = write_samples(tmp_path)[0]
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(bundle_root), str(path), "then monai"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    light, real, same, record = json.loads(done.stdout.strip().splitlines()[-1])
    assert light and real and same

    import monai.bundle  # noqa: F401  from here on the usual way

    from scripts.predictor import CaptionPredictor

    usual = CaptionPredictor.from_bundle(bundle_root, num_beams=1, max_new_tokens=6, device="cpu").caption(path)
    made = json.loads(json.dumps(usual.record))
    # transformers' language model rounds float16 weights otherwise than ours in the last bits
    assert made.pop("token_logprobs") == pytest.approx(record.pop("token_logprobs"), abs=1e-4)
    assert made.pop("token_confidence") == pytest.approx(record.pop("token_confidence"), abs=1e-4)
    assert made == record


def test_values_are_those_of_the_bundle_language(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config = {
        "imports": ["$import os"],
        "root": "/data",
        "file": "$os.path.join(@root, 'a.json')",
        "same": "@file",
        "nested": {"list": ["@root", 2, "plain"]},
        "rule": {"_target_": "scripts.confidence.ConfidenceRule", "abstain_below": "@limit"},
        "limit": 0.25,
        "short": {"_target_": "CacheDataset", "data": []},
    }
    path.write_text(json.dumps(config))
    plain = PlainConfig([path], {"root": "/other"})
    assert plain.get("same") == "/other/a.json" and plain.get("nested") == {"list": ["/other", 2, "plain"]}
    assert plain.get("rule").abstain_below == 0.25 and plain.get("rule") is plain.get("rule")
    with pytest.raises(NotPlainError):
        plain.get("short")


@pytest.mark.parametrize("extra", [{"a#b": 1}, {"+a": [1]}, {"a": "%b"}, {"a": "@b::c"}, {"a": "$@b#c"}])
def test_what_only_monai_understands_is_left_to_it(tmp_path: Path, extra: dict) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"b": {"c": 1}, **extra}))
    with pytest.raises(NotPlainError):
        PlainConfig([path], {}).get("a")
    with pytest.raises(NotPlainError):
        PlainConfig([path, path], {})
