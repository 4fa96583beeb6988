"""MONAI Label's own ``monaibundle`` app takes the bundle without crashing, as far as that app can carry text."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from label_server import missing_label_server
from study_files import write_studies

pytestmark = pytest.mark.skipif(missing_label_server() is not None, reason=str(missing_label_server()))


@pytest.mark.timeout(1200)
def test_the_stock_app_loads_the_bundle(tmp_path: Path, bundle_root: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(Path(sys.prefix) / "monailabel" / "sample-apps" / "monaibundle", app)
    (app / "model").mkdir()
    (app / "model" / "msmedcap").symlink_to(bundle_root)
    studies = write_studies(tmp_path / "studies")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("stock_app.py")), str(app), str(studies)],
        capture_output=True,
        text=True,
        timeout=1100,
        env={**os.environ, "MONAI_LABEL_AUTO_UPDATE_SCORING": "false"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    result = json.loads(line.removeprefix("RESULT "))
    task = result["models"]["msmedcap"]
    assert task["version"] == json.loads((bundle_root / "configs" / "metadata.json").read_text())["version"]
    assert task["type"] == "segmentation"  # that app's name for whatever it does not know; our own app says "others"
    assert result["infer"] != "answered"  # it writes masks only: docs/integration.md says so
