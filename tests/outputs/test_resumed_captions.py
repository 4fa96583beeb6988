"""A run over a folder that was killed goes on where it was: the same files as of a run that nobody killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from made_batch import captioned
from pydicom.data import get_testdata_file
from square_cases import block, case_of
from torch.utils.data import DataLoader

from child_process import Child
from scripts.data.inference_cases import InferenceDataset, collate_inference
from scripts.errors import InputError
from scripts.outputs.html import HtmlWriter
from scripts.outputs.jsonl import CaptionWriter
from scripts.reading.image_meta import ImageMeta

CASES, BATCH = 11, 3
READ: list[str] = []
OUTPUTS, FEW = ("jsonl", "html", "dicom_sr", "fhir"), ("jsonl", "html")


def read(item: dict[str, Any]) -> dict[str, Any]:
    """Three files of the folder are broken; the last of them in the last, short batch."""
    path = Path(item["image"])
    READ.append(item["image"])
    if b"broken" in path.read_bytes()[:6]:
        raise InputError(f"{path}: is broken: leave it out")
    generator = torch.Generator().manual_seed(len(path.name))
    return {"image": torch.rand(3, 32, 32, generator=generator), "image_meta": ImageMeta(({"modality": "CT"},))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(CASES):
        path = folder / f"patient{number:02d}" / "ct.dcm"
        path.parent.mkdir()
        shutil.copy(get_testdata_file("CT_small.dcm", download=False), path)
        if number in (4, 7, CASES - 1):
            path.write_bytes(b"broken")
    return folder


def captioning(explained: Callable[[str], Any] | None = None, pause: float = 0.0) -> Callable[[Engine, dict], dict]:
    """A step that captions each image by its name."""

    def step(engine: Engine, batch: dict) -> dict:
        time.sleep(pause)
        good = [record["source"] for record in batch["records"] if record["error"] is None]
        if not good:
            return {"pred": {}}
        made = captioned(
            [f"Axial CT of {Path(source).parent.name}." for source in good],
            ["Axial", " CT"],
            seconds={"encode": 0.25},
            explanations=None if explained is None else [explained(source) for source in good],
        )
        return {"pred": {"captioned": made}}

    return step


def run(
    images: Sequence[Path],
    output: Path,
    step: Callable[[Engine, dict], dict],
    *,
    outputs: Sequence[str] = OUTPUTS,
    resume: str = "auto",
    seed: int = 0,
    transform: Callable[[dict], dict] = read,
) -> list[str]:
    """Caption; returns the images that were read."""
    READ.clear()
    dataset = InferenceDataset([{"image": str(path)} for path in images], transform)
    loader = DataLoader(dataset, batch_size=BATCH, collate_fn=collate_inference)
    provenance = {"model_version": "1", "weights": {"a": "b"}, "trace": {"settings": {"seed": seed}}}
    writer = CaptionWriter(output, provenance=provenance, outputs=outputs, quiet=True, resume=resume)
    engine = Engine(step)
    writer.attach(engine)
    engine.run(loader, max_epochs=1)
    return list(READ)


def stopped_after(count: int, step: Callable[[Engine, dict], dict]) -> Callable[[Engine, dict], dict]:
    """A run that somebody interrupts in its batch ``count``, counted from 0."""

    def stopping(engine: Engine, batch: dict) -> dict:
        if engine.state.iteration > count:
            raise KeyboardInterrupt
        return step(engine, batch)

    return stopping


def files_of(output: Path) -> dict[str, bytes]:
    """All that a run left, but for how long it took."""
    found = {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert json.loads(found.pop("timings.jsonl").splitlines()[0])["seconds"] == {"encode": 0.25 / BATCH // 1e-4 * 1e-4}
    return {
        name: b"\n".join(sorted(content.splitlines())) if name.startswith(".written") else content
        for name, content in found.items()
    }


@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_kills_at_random_moments_change_nothing(folder: Path, tmp_path: Path, kills: int) -> None:
    images = sorted(folder.glob("*/ct.dcm"))
    run(images, tmp_path / "whole", captioning())
    whole, output, clock = files_of(tmp_path / "whole"), tmp_path / "killed", random.Random(0)
    done, moments = 0, 0.25
    while done < kills:
        child = Child(tmp_path / "log", run, images, output, captioning(pause=0.01))
        time.sleep(clock.uniform(0, moments))
        if child.running():
            child.end(signal.SIGKILL)
            done += 1
            continue
        assert child.end() == 0, child.log.read_text()
        assert files_of(output) == whole
        moments *= 0.8  # it ends before it is killed: here everything is quicker
        shutil.rmtree(output)
    run(images, output, captioning())
    assert files_of(output) == whole


def test_a_list_that_was_being_written_anew_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    images = sorted(folder.glob("*/ct.dcm"))
    begun = tmp_path / "out" / ".written" / ".html.jsonl.1.2.tmp"
    begun.parent.mkdir(parents=True)
    begun.write_text("half")
    run(images, tmp_path / "out", captioning())
    assert not begun.exists()


def test_what_is_done_is_not_read_again_and_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted(folder.glob("*/ct.dcm"))
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path, stopped_after(2, captioning()))
    assert not (tmp_path / "captions.jsonl").exists()
    read_again = run(images, tmp_path, captioning())
    assert read_again == [str(path) for path in images[2 * BATCH :]]
    assert f"going on after {2 * BATCH} of {CASES} images" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["image"] for line in lines] == [str(path) for path in images]
    assert [line["image"] for line in lines if line["error"]] == [str(images[n]) for n in (4, 7, CASES - 1)]
    assert run(images, tmp_path, captioning()) == [str(path) for path in images]  # that run has ended


def _touched(images: list[Path]) -> dict[str, Any]:
    content = images[0].read_bytes()
    images[0].write_bytes(content + b"\0\0")
    return {}


def read_otherwise(item: dict[str, Any]) -> dict[str, Any]:
    return {**read(item), "further": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images: {"seed": 1}, "settings"),
        (lambda images: {"outputs": ("jsonl",)}, "outputs"),
        (lambda images: {"transform": read_otherwise}, "settings"),
        (lambda images: images.pop() and {}, "images"),
        (_touched, "images"),
        (lambda images: {"resume": ""}, None),
    ],
)
def test_another_run_starts_afresh(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable, said: str | None
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    images, output = sorted((tmp_path / "in").glob("*/ct.dcm")), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(images, output, stopped_after(2, captioning()), outputs=FEW)
    given = {"outputs": FEW, **change(images)}
    assert run(images, output, captioning(), **given) == [str(path) for path in images]
    told = capsys.readouterr().err
    assert (f"a part of a run with other {said}: this one starts afresh" in told) == (said is not None)
    run(images, tmp_path / "whole", captioning(), **given)
    new, whole = files_of(output), files_of(tmp_path / "whole")
    assert {name: new[name] for name in whole} == whole


@pytest.mark.parametrize("damage", ["cut", "flipped", "first line"])
def test_a_damaged_line_ends_what_is_believed(folder: Path, tmp_path: Path, damage: str) -> None:
    images = sorted(folder.glob("*/ct.dcm"))
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "out", stopped_after(3, captioning()), outputs=FEW)
    progress = tmp_path / "out" / ".written" / "progress.jsonl"
    lines = progress.read_bytes().splitlines(keepends=True)
    if damage == "cut":
        lines[-1] = lines[-1][:-40]
    else:
        at = 0 if damage == "first line" else 5
        lines[at] = lines[at][:60] + bytes([lines[at][60] ^ 4]) + lines[at][61:]
    progress.write_bytes(b"".join(lines))
    first = {"cut": 6, "flipped": 3, "first line": 0}[damage]
    assert run(images, tmp_path / "out", captioning(), outputs=FEW) == [str(path) for path in images[first:]]
    run(images, tmp_path / "whole", captioning(), outputs=FEW)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_names_that_earlier_cases_took_and_explanations_stay(tmp_path: Path) -> None:
    """Overlays and masks are named by their file; of two of one name the second gets a number."""
    import nibabel

    images = []
    for number in range(2 * BATCH):
        path = tmp_path / f"patient{number}" / "ct.nii"
        path.parent.mkdir()
        nibabel.save(nibabel.Nifti1Image(block().transpose(2, 1, 0).astype("int16"), torch.eye(4).numpy()), path)
        images.append(path)
    step = captioning(lambda source: case_of(source, size=64).explanation)
    outputs = ("jsonl", "html", "nifti_mask", "overlay")
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "out", stopped_after(1, step), outputs=outputs)
    assert len(run(images, tmp_path / "out", step, outputs=outputs)) == BATCH
    run(images, tmp_path / "whole", step, outputs=outputs)
    out = files_of(tmp_path / "out")
    assert out == files_of(tmp_path / "whole")
    assert {f"overlay/ct{end}.png" for end in ("", "_2", "_6")} <= set(out)


def test_an_output_that_cannot_go_on_is_made_afresh(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted(folder.glob("*/ct.dcm"))
    monkeypatch.delattr(HtmlWriter, "recall")
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path, stopped_after(2, captioning()), outputs=("jsonl", "html"))
    assert run(images, tmp_path, captioning(), outputs=("jsonl", "html")) == [str(path) for path in images]


def test_two_runs_do_not_share_a_folder(folder: Path, tmp_path: Path) -> None:
    images = sorted(folder.glob("*/ct.dcm"))
    child = Child(tmp_path / "log", run, images, tmp_path / "out", captioning(pause=30))
    progress = tmp_path / "out" / ".written" / "progress.jsonl"
    end = time.monotonic() + 60
    while not progress.exists() and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(InputError, match=f"is being written by process {child.pid}"):
        run(images, tmp_path / "out", captioning())
    child.end(signal.SIGKILL)
    run(images, tmp_path / "out", captioning())


def test_resume_is_auto_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resume is 'auto' or ''"):
        CaptionWriter(tmp_path, resume="yes")
