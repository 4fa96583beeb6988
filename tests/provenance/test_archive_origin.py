"""An archive goes on only with what made its captions: hashes of weights, settings, whatever the user gave besides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.commands.archive import _inference_parser
from scripts.errors import InputError, WeightsError
from scripts.provenance.archive_origin import FILE, check_origin, made_with


def _made_with(bundle_root: Path, **values: Any) -> dict[str, Any]:
    return made_with(_inference_parser(bundle_root, values), values)


def test_weights_and_settings_are_those_of_the_config_without_building_a_network(
    bundle_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    content = ConfigParser.get_parsed_content
    monkeypatch.setattr(
        ConfigParser, "get_parsed_content", lambda self, id, **more: read.append(id) or content(self, id, **more)
    )
    made = _made_with(bundle_root)
    assert read == ["provenance", "calibration", "familiarity"]
    files = ("model.pt", "general_encoder.pt", "concept_reader.safetensors", "calibration.json")
    for name in (*files, "familiarity.safetensors"):
        assert made["weights"][name] == hashlib.sha256((bundle_root / "models" / name).read_bytes()).hexdigest()
    assert made["settings"]["num_beams"] == 5 and made["settings"]["window"] == "auto"


def test_what_changes_a_caption_differs_and_what_does_not_is_equal(bundle_root: Path) -> None:
    usual = _made_with(bundle_root)
    assert _made_with(bundle_root, num_beams=5, workers=4, output_dir="elsewhere") == usual
    exact = {"amp_dtype": "float32"}  # "auto" is what the device has units for, which may change a caption
    assert _made_with(bundle_root, device="$torch.device('meta')", **exact) == _made_with(bundle_root, **exact)
    other = {"weights": str(bundle_root / "models" / "model_2.pt")}
    for values in ({"num_beams": 1}, {"calibration": ""}, {"queries": 8}, other):
        assert _made_with(bundle_root, **values) != usual, values
    with pytest.raises(WeightsError, match="absent.pt"):
        _made_with(bundle_root, weights="absent.pt")


def test_a_folder_without_captions_takes_new_settings_and_one_with_captions_refuses(tmp_path: Path) -> None:
    one = {"weights": {"model.pt": "1f"}, "settings": {"num_beams": 5, "window": "auto"}}
    two = {"weights": {"model.pt": "2f"}, "settings": {"num_beams": 5, "window": "lung"}}
    check_origin(tmp_path, one, captioned=False)
    check_origin(tmp_path, two, captioned=False)
    check_origin(tmp_path, two, captioned=True)
    with pytest.raises(InputError, match=r"weights model\.pt; window 'lung', now 'auto'; give another output_dir"):
        check_origin(tmp_path, one, captioned=True)
    assert json.loads((tmp_path / FILE).read_text()) == two
    (tmp_path / FILE).unlink()
    with pytest.raises(InputError, match="made_with.json does not say what made them; give another output_dir"):
        check_origin(tmp_path, one, captioned=True)
