"""Slicer's conventions: what the Extensions Index checks, what CMake installs, texts and translations."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
EXTENSION = ROOT / "integrations" / "slicer" / "ImageCaptioning"
MODULE = EXTENSION / "ImageCaptioning"
REPOSITORY = "https://github.com/somebody/SlicerImageCaptioning"
KEYS = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory",
        "enabled", "tier"}  # fmt: skip
"""What the index's schema (v1.0.1) knows; nothing else may stand in a description."""
SCHEMA = {
    "type": "object", "required": ["$schema", "category", "scm_url"], "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("$schema", "category", "scm_url", "scm_revision", "build_subdirectory"), {"type": "string"}),
        "scm_type": {"enum": ["git", "local"]}, "enabled": {"type": "boolean"},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "tier": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}  # fmt: skip
CATEGORIES = {"Active Learning", "Analysis", "DICOM", "Informatics", "Quantification", "Segmentation", "Utilities"}
"""Some of the index's categories, among them ours."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension as a repository of its own."""
    folder = tmp_path_factory.mktemp("published") / "SlicerImageCaptioning"
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "slicer_extension.py"), REPOSITORY, str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder


def _told(folder: Path) -> dict[str, str]:
    """The ``EXTENSION_...`` values of the top ``CMakeLists.txt``, found by the index's own pattern."""
    text = (folder / "CMakeLists.txt").read_text()
    return dict(re.findall(r'set\s*\((EXTENSION_\w+)\s*"([^"]+)"[ ]*\)', text))


class TestIndex:
    """The checks of the index's ``check_description_files``, but for those that ask the network."""

    def test_the_description_fits_the_schema(self, published: Path) -> None:
        path = published / "ImageCaptioning.json"
        told = json.loads(path.read_text())
        jsonschema.validate(told, SCHEMA)
        assert set(told) <= KEYS and told["$schema"].endswith("catalog-entry-schema-v1.0.1.json#")
        assert b"\r" not in path.read_bytes()
        assert told["category"] in CATEGORIES and told["category"] == _told(published)["EXTENSION_CATEGORY"]
        assert (told["build_dependencies"] == []) == (_told(published)["EXTENSION_DEPENDS"] == "NA")

    def test_names(self, published: Path) -> None:
        told = json.loads((published / "ImageCaptioning.json").read_text())
        assert told["scm_url"] == f"{REPOSITORY}.git"
        assert told["scm_url"].rsplit("/", 1)[1].startswith("Slicer")  # the repository's, not the extension's
        assert re.findall(r"project\s*\(\s*([^\s\)]+)", (published / "CMakeLists.txt").read_text()) == [
            "ImageCaptioning"
        ]
        assert "OWNER" not in "".join(
            path.read_text() for path in published.rglob("*") if path.suffix in (".txt", ".json", ".md", ".py")
        )

    def test_icon_and_screenshots_are_where_their_addresses_say(self, published: Path) -> None:
        told = _told(published)
        raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/"
        addresses = [told["EXTENSION_ICONURL"], *told["EXTENSION_SCREENSHOTURLS"].split()]
        assert len(addresses) >= 3 and all(address.startswith(raw) for address in addresses)
        for address in addresses:
            with Image.open(published / address.removeprefix(raw)) as picture:
                assert picture.format == "PNG"
        with Image.open(published / "ImageCaptioning.png") as icon:
            assert icon.size == (128, 128)
        icons = [published / "ImageCaptioning.png", published / "ImageCaptioning/Resources/Icons/ImageCaptioning.png"]
        assert icons[0].read_bytes() == icons[1].read_bytes()

    def test_licence_and_home_page(self, published: Path) -> None:
        assert (published / "LICENSE.txt").read_text() == (ROOT / "LICENSE").read_text()
        page = (published / "README.md").read_text()
        assert "# Image Captioning" in page and "Apache" in page and "arxiv.org/abs/2311.01004" in page
        pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
        assert pictures and all((published / picture).is_file() for picture in pictures)
        assert "one module, **Image Captioning**" in page and "not for diagnosis" in page
        description = _told(published)["EXTENSION_DESCRIPTION"]
        assert 40 < len(description) < 300 and "Apache" in description

    def test_it_is_small(self, published: Path) -> None:
        assert sum(path.stat().st_size for path in published.rglob("*") if path.is_file()) < 5 << 20  # of 100 MB

    def test_an_address_that_is_no_repository_is_refused(self, tmp_path: Path) -> None:
        tool, address = ROOT / "tools" / "slicer_extension.py", "https://github.com/a/Captions"
        command = [sys.executable, str(tool), address, str(tmp_path / "x")]
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode != 0 and "begins with Slicer" in made.stderr and not (tmp_path / "x").exists()

    def test_every_place_names_one_home(self, published: Path, tmp_path: Path) -> None:
        assert self._check(published) == (0, f"{published}: fit to be pushed as branch 'main'\n")
        assert self._check(EXTENSION)[0] == 1 and "is no home yet" in self._check(EXTENSION)[1]
        assert f'HOME = "{REPOSITORY}"' in (published / "ImageCaptioning" / "ImageCaptioning.py").read_text()
        moved = shutil.copytree(published, tmp_path / "moved")
        (moved / "ImageCaptioning.json").write_text('{"scm_url": "https://github.com/other/SlicerImageCaptioning.git"}')
        (moved / "Screenshots" / "words.png").unlink()
        code, said = self._check(moved)
        assert code == 1 and "names another repository" in said and "words.png is no picture" in said

    @staticmethod
    def _check(folder: Path) -> tuple[int, str]:
        command = [sys.executable, str(ROOT / "tools" / "slicer_extension.py"), "--check", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout


class TestCMake:
    """``cmake`` with a stand-in for Slicer's package, which notes what it is given."""

    @pytest.fixture(scope="class")
    def configured(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
        build = tmp_path_factory.mktemp("build")
        done = subprocess.run(
            ["cmake", "-S", str(EXTENSION), "-B", str(build), f"-DSlicer_DIR={HERE / 'cmake'}", "-DBUILD_TESTING=ON"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {name: (build / f"{name}.txt").read_text().split() for name in ("scripts", "resources", "tests", "told")}

    def test_it_configures_and_installs_every_file(self, configured: dict[str, list[str]]) -> None:
        scripts = {str(path.relative_to(MODULE)) for path in MODULE.rglob("*.py") if "Testing" not in path.parts}
        assert set(configured["scripts"]) == scripts and len(configured["scripts"]) == len(scripts)
        resources = {
            str(path.relative_to(MODULE)) for path in (MODULE / "Resources").rglob("*")
            if path.is_file() and path.suffix != ".ts"  # what Slicer loads is the .qm
        }  # fmt: skip
        assert set(configured["resources"]) == resources

    def test_its_tests_are_registered(self, configured: dict[str, list[str]]) -> None:
        assert configured["tests"] == ["ImageCaptioning.py", "ImageCaptioningSelfTest.py"]
        assert (MODULE / "Testing" / "Python" / "ImageCaptioningSelfTest.py").is_file()
        assert configured["told"] == ["NAME:ImageCaptioning", "WITH_GENERIC_TESTS:TRUE", "config", "cpack"]


def test_slicers_older_python_can_read_every_file() -> None:
    """Slicer 5.6 and 5.8 have Python 3.9: no match statements, no strict zip."""
    for path in MODULE.rglob("*.py"):
        text = path.read_text()
        ast.parse(text, feature_version=(3, 9))
        assert "strict=True" not in text and "from __future__ import annotations" in text or path.name == "__init__.py"


class TestTranslations:
    def test_they_are_up_to_date(self) -> None:
        pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed (make test installs it)")
        command = [sys.executable, str(ROOT / "tools" / "slicer_translations.py"), "--check"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("language", ["de", "fr"])
    def test_every_text_is_translated_and_its_blanks_and_ends_stay(self, language: str) -> None:
        path = MODULE / "Resources" / "Translations" / f"ImageCaptioning_{language}.ts"
        for message in ET.parse(path).iter("message"):
            source, translation = message.findtext("source"), message.find("translation")
            assert translation.get("type") is None and translation.text, source
            blanks = [re.findall(r"\{[^}]+\}", text) for text in (source, translation.text)]
            assert sorted(blanks[0]) == sorted(blanks[1]), source
            ends = [re.sub(r"[\s\u00a0]", "", text)[-1] for text in (source, translation.text)]
            assert ends[0] == ends[1] or ends[0] not in ".:?", source


class TestPanelFiles:
    @pytest.mark.parametrize("name", ["ImageCaptioning", "Caption", "Captioner"])
    def test_a_ui_file_is_one_of_designers(self, name: str) -> None:
        tree = ET.parse(MODULE / "Resources" / "UI" / f"{name}.ui")
        assert tree.getroot().get("version") == "4.0" and tree.findtext("class") == name
        names = [widget.get("name") for widget in tree.iter("widget")]
        assert len(names) == len(set(names))
        custom = {item.findtext("class") for item in tree.iter("customwidget")}
        assert {w.get("class") for w in tree.iter("widget") if not w.get("class").startswith("Q")} <= custom

    def test_mrml_widgets_are_told_of_the_scene(self) -> None:
        tree = ET.parse(MODULE / "Resources" / "UI" / "ImageCaptioning.ui")
        wanted = {w.get("name") for w in tree.iter("widget") if w.get("class").startswith("qMRML")} - {
            "ImageCaptioning"
        }
        told = {
            item.findtext("receiver")
            for item in tree.iter("connection")
            if "mrmlSceneChanged" in item.findtext("signal")
        }
        assert wanted == told
