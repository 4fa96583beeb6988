"""A bundle that captions anything, however unsure: the volumes that these tests make are not medical."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle by links, with two values of its inference config changed."""
    bundle, folder = Path(__file__).resolve().parents[3] / "bundle", tmp_path_factory.mktemp("anything") / "bundle"
    folder.mkdir()
    for path in bundle.iterdir():
        if path.name != "configs":
            (folder / path.name).symlink_to(path)
    shutil.copytree(bundle / "configs", folder / "configs")
    file = folder / "configs" / "inference.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text(encoding="utf-8")), "anything": True, "abstain_below": 0.0}),
        encoding="utf-8",
    )
    return folder
