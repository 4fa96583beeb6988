"""``make zoo``: what MONAI's model zoo checks of a pull request, check by check, on what it wrote."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scripts.weights.intact import main as check_folder
from tools.zoo.write import HERE, style_faults, write_zoo

STAND_INS = Path(__file__).with_name("zoo_stand_ins")
NECESSARY = ("configs/metadata.json", "LICENSE", "configs/inference.json", "docs/README.md", "docs/data_license.txt")
SECTIONS = (
    "Authors", "Tags", "Model Description", "Data", "Preprocessing", "Performance", "Additional Usage Steps",
    "System Configuration", "Limitations", "Citation Info", "References",
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, bundle_root: Path) -> Path:
    """The zoo's folder as a pull request has it, before anything is fetched; not formatted, for speed."""
    target = tmp_path_factory.mktemp("zoo") / "zoo"
    write_zoo(bundle_root, target, styled=False)
    return target


def test_the_tree_holds_no_large_file_and_says_where_they_are(tree: Path) -> None:
    files = [path for path in (tree / "models").rglob("*") if path.is_file()]
    assert [path for path in files if path.stat().st_size > 1024 * 1024] == []
    listed = re.findall(r'path: "(.*)"', (tree / "models" / "msmedcap" / "large_files.yml").read_text())
    assert "models/model.pt" in listed
    assert {Path(name).name for name in listed} == {path.name for path in (tree / "large_files").iterdir()}


def test_necessary_files_are_there_once_large_ones_are_fetched(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tree / "models" / "msmedcap"
    words = ["monai.bundle", "download_large_files", "--bundle_path", str(bundle)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    assert [name for name in (*NECESSARY, "models/model.pt") if not (bundle / name).is_file()] == []
    assert check_folder([str(bundle / "models")]) == 0, capsys.readouterr()


def test_the_version_is_in_the_changelog_and_new(tree: Path) -> None:
    metadata = json.loads((tree / "models" / "msmedcap" / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    assert f"msmedcap_v{metadata['version']}" not in json.loads((tree / "models" / "model_info.json").read_text())
    assert metadata["supported_apps"] and metadata["eval_metrics"]


def test_every_python_file_has_the_header_and_every_json_file_the_indent(tree: Path) -> None:
    header = (HERE / "header.txt").read_text()
    assert [path for path in tree.rglob("*.py") if not path.read_text().startswith(header)] == []
    for path in (tree / "models").rglob("*.json"):
        assert path.read_text() == json.dumps(json.loads(path.read_text()), indent=4, ensure_ascii=False) + "\n", path


def test_no_config_has_a_path_of_a_person(tree: Path) -> None:
    for path in (tree / "models" / "msmedcap" / "configs").iterdir():
        assert not re.search(r"/(home|Users|root|work)/", path.read_text()), path


def test_the_model_card_has_the_sections_of_the_template_in_order(tree: Path) -> None:
    card = (tree / "models" / "msmedcap" / "docs" / "README.md").read_text()
    headings = re.findall(r"^#{2,4} (.*)$", card, re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


def test_the_address_of_large_files_can_be_given(bundle_root: Path, tmp_path: Path) -> None:
    made = write_zoo(bundle_root, tmp_path / "zoo", "https://example.org/files/", styled=False)
    assert '"https://example.org/files/model.pt"' in (made / "large_files.yml").read_text()


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory, bundle_root: Path) -> Path:
    """As ``make zoo`` writes it, with its large files in place."""
    target = tmp_path_factory.mktemp("styled") / "zoo"
    made = write_zoo(bundle_root, target)
    (target / "ci" / "unit_tests" / "utils.py").write_text((STAND_INS / "zoo_utils.py").read_text())
    for path in (target / "large_files").iterdir():
        (made / "models" / path.name).write_bytes(path.read_bytes())
    return target


def run_in(tree: Path, *command: str, **environment: str) -> str:
    paths = os.pathsep.join([str(tree / "models" / "msmedcap"), str(tree / "ci" / "unit_tests"), str(STAND_INS)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_isort_black_and_flake8_with_the_zoo_s_settings_find_nothing(styled: Path) -> None:
    assert style_faults(styled) == ""
    (styled / "models" / "msmedcap" / "scripts" / "bad.py").write_text("import sys, os\nx = lambda: 0\n")
    said = style_faults(styled)
    (styled / "models" / "msmedcap" / "scripts" / "bad.py").unlink()
    assert all(name in said for name in ("isort", "black", "flake8"))


@pytest.mark.slow
def test_full_mode(styled: Path) -> None:
    """Properties, shape of input and output; TorchScript is refused, so the zoo lists the bundle as one without."""
    Image.new("L", (64, 64), 90).save(styled / "image.png")
    [line] = [line for line in run_in(styled, str(STAND_INS / "full_checks.py")).splitlines() if "RESULT" in line]
    found = json.loads(line.partition("RESULT ")[2])
    assert found["missing"] == []
    assert "neither TorchScript" in found["export"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_msmedcap", "test_msmedcap_dist"])
@pytest.mark.timeout(900)
def test_the_unit_tests_pass(styled: Path, name: str) -> None:
    said = run_in(styled, "-m", "unittest", "-v", name)
    assert re.search(r"^OK$", said, re.MULTILINE), said[-3000:]
