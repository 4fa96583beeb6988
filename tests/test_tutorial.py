"""The tutorial notebook: it runs from its first cell to its last, and shows what it made."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATH = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, 4)


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_the_notebook_is_whole_and_has_its_pictures(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code if cell.execution_count]
    assert counts == list(range(1, len(counts) + 1)) and len(counts) > 4, "run from top to bottom"
    outputs = _outputs(notebook)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not [output for output in outputs if output.output_type == "error"]
    text = "".join(output.get("text", "") for output in outputs)
    assert "Axial" in text
    assert PATH.stat().st_size < 1_500_000


def test_it_names_no_place_of_the_machine_that_ran_it(notebook: nbformat.NotebookNode) -> None:
    shown = nbformat.writes(notebook)
    assert not re.search(r"/(home|root|tmp|work|Users)/", shown)


def test_its_links_lead_somewhere(notebook: nbformat.NotebookNode) -> None:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links and all((PATH.parent / link).is_file() for link in links)


@pytest.mark.slow
def test_it_runs(notebook: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nine images and one pass of each stage; `TUTORIAL_WHOLE=1` runs it as it stands."""
    from nbclient import NotebookClient

    monkeypatch.setenv("TUTORIAL_FOLDER", str(tmp_path))
    if not os.environ.get("TUTORIAL_WHOLE"):
        monkeypatch.setenv("TUTORIAL_SIZE", "9 1")
    NotebookClient(notebook, timeout=3000, resources={"metadata": {"path": str(PATH.parent)}}).execute()
    shown = "".join(output.get("text", "") for output in _outputs(notebook))
    assert "(confidence" not in shown and "Axial" in shown and "next, score:" in shown
    assert (tmp_path / "train" / "model.pt").is_file() and (tmp_path / "evaluate" / "captions.jsonl").is_file()
    assert sum("image/png" in output.get("data", {}) for output in _outputs(notebook)) >= 4
