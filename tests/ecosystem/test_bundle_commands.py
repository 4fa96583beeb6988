"""Every subcommand of ``python -m monai.bundle``, as typed, on both stages and on captions at tiny sizes."""

from __future__ import annotations

import json
import logging
import re
import runpy
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import monai.bundle
import pytest
from config_run import BUNDLE, make_data, settings_of

from scripts.command_line import as_typed
from scripts.errors import InputError
from test_bundle import SCHEMA

Command = Callable[..., None]


@pytest.fixture
def command(bundle_root: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``python -m monai.bundle WORDS``, from inside the bundle, in this process."""
    monkeypatch.chdir(bundle_root)
    monkeypatch.setenv("MSMEDCAP_ARGUMENTS_CHECKED", "1")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    level = logging.getLogger().level

    def run(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["monai.bundle", *as_typed([str(word) for word in words])])
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)

    yield run
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("commands"), count=4)


def tiny(folder: Path, stage: str, output: Path, **changes: object) -> str:
    """``configs/<stage>.json`` and an overlay of small networks on the data in ``folder``, as ``--config_file``."""
    own = json.loads((BUNDLE / "configs" / f"{stage}.json").read_text(encoding="utf-8"))
    settings = settings_of(["train.json" if stage == "inference" else f"{stage}.json"], folder, output, **changes)
    settings = {key: value for key, value in settings.items() if key.split("#")[0] in own}
    overlay = output.with_suffix(".json")
    overlay.write_text(json.dumps(settings))
    return f"['configs/{stage}.json','{overlay}']"


def metrics_of(database: Path) -> dict[str, list[float]]:
    with sqlite3.connect(database) as opened:
        rows = opened.execute("select key, value from metrics order by step").fetchall()
    return {key: [value for name, value in rows if name == key] for key in {name for name, _ in rows}}


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """Where `test_run_tracks_both_stages` leaves stage 2."""
    return folder / "train"


def test_run_tracks_both_stages(command: Command, folder: Path, trained: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an optional package (requirements-extras.txt)")
    command("run", "training", "--config_file", tiny(folder, "pretrain", folder / "pretrain"), "--tracking", "mlflow")
    stage1 = metrics_of(folder / "pretrain" / "mlruns.db")
    assert {"train_loss", "val_loss", *(f"{b}_{p}" for b in ("general", "detail") for p in ("itc", "itm", "itg"))} <= (
        stage1.keys()
    )
    history = json.loads((folder / "pretrain" / "history.json").read_text())
    assert stage1["train_loss"] == pytest.approx([step["loss"] for step in history["steps"]])
    assert stage1["val_loss"] == pytest.approx([epoch["validation_val_loss"] for epoch in history["epochs"]])

    command("run", "--config_file", tiny(folder, "train", trained), "--tracking", "configs/tracking.json")
    stage2 = metrics_of(trained / "mlruns.db")
    history = json.loads((trained / "history.json").read_text())
    assert stage2["train_loss"] == pytest.approx([step["loss"] for step in history["steps"]])
    assert stage2["val_loss"] == pytest.approx([epoch["validation_val_loss"] for epoch in history["epochs"]])
    with sqlite3.connect(trained / "mlruns.db") as database:
        assert ("msmedcap",) in database.execute("select name from experiments").fetchall()
        assert database.execute("select name, status from runs").fetchall() == [("train", "FINISHED")]


@pytest.fixture
def captioning(folder: Path, trained: Path) -> Callable[[str], str]:
    """``--config_file`` of inference with the network that was trained, into a folder of that name."""
    if not (trained / "model.pt").is_file():
        pytest.skip("needs the run of test_run_tracks_both_stages")
    values = {"weights": str(trained / "model.pt"), "concept_reader": "", "calibration": "", "batch_size": 4}
    values |= {"bundle_root": str(BUNDLE), "datalist": str(folder / "datalist.json"), "section": "validation"}
    return lambda name: tiny(folder, "inference", folder / name, **values)


def captions(output: Path) -> list[str]:
    lines = (output / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["error"] is None for line in lines)
    return [json.loads(line)["caption"] for line in lines]


def test_run_workflow_an_args_file_and_a_logging_file(
    command: Command, captioning: Callable[[str], str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("run_workflow", "--config_file", captioning("workflow"), "--workflow_type", "inference")
    expected = captions(folder / "workflow")
    assert len(expected) == 4
    arguments = {"config_file": json.loads(captioning("args").replace("'", '"')), "run_id": "run", "num_beams": 2}
    (folder / "args_file.json").write_text(json.dumps(arguments))
    (folder / "logging.conf").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=file\n[formatters]\nkeys=own\n[logger_root]\nlevel=INFO\nhandlers=file\n"
        f"[handler_file]\nclass=FileHandler\nargs=('{folder / 'own.log'}',)\nformatter=own\n"
        "[formatter_own]\nformat=OWN %(message)s\n"
    )
    command("run", "--args_file", folder / "args_file.json", "--logging_file", folder / "logging.conf")
    assert len(captions(folder / "args")) == 4
    assert (folder / "own.log").read_text().startswith("OWN ")
    assert "captions.jsonl" in capsys.readouterr().out


def test_update_kwargs_puts_the_command_line_before_the_args_file(folder: Path) -> None:
    (folder / "few.json").write_text(json.dumps({"num_beams": 2, "network_def": {"prompt": "CT"}}))
    found = monai.bundle.update_kwargs(
        str(folder / "few.json"), num_beams=3, window=None, network_def={"prior_weight": 0}
    )
    assert found == {"num_beams": 3, "network_def": {"prompt": "CT", "prior_weight": 0}}


def test_verify_metadata(command: Command, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    arguments = ("verify_metadata", "--meta_file", "configs/metadata.json", "--filepath")
    command(*arguments, tmp_path / "schema.json")
    (tmp_path / "stricter.json").write_text(json.dumps({**SCHEMA, "required": ["absent"]}))
    with pytest.raises(ValueError, match="absent"):
        command(*arguments, tmp_path / "stricter.json")


def test_verify_net_in_out(command: Command, captioning: Callable[[str], str]) -> None:
    arguments = ["verify_net_in_out", "network_def", "--config_file", captioning("verify")]
    arguments += ["--meta_file", "configs/metadata.json", "--device", "cpu", "--max_new_tokens"]
    command(*arguments, 48)
    with pytest.raises(ValueError, match="channel number"):
        command(*arguments, 7)


@pytest.mark.parametrize("name", ["ckpt_export", "onnx_export", "trt_export"])
def test_exports_are_refused_in_one_sentence(
    command: Command, captioning: Callable[[str], str], trained: Path, tmp_path: Path, name: str
) -> None:
    options = {"net_id": "network_def", "filepath": tmp_path / "model.out", "ckpt_file": trained / "model.pt"}
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    config_file = captioning(name)
    with pytest.raises(InputError, match=r"neither TorchScript, ONNX nor TensorRT can.*CaptionPredictor"):
        command(name, *words, "--config_file", config_file)
    if name == "ckpt_export":  # the others look for onnxscript or a GPU first
        for more in ({}, {"use_trace": True}):
            named = {**{key: str(value) for key, value in options.items()}, "input_shape": [1, 3, 64, 64], **more}
            with pytest.raises(InputError, match="neither TorchScript, ONNX nor TensorRT"):
                monai.bundle.ckpt_export(config_file=json.loads(config_file.replace("'", '"')), **named)
    assert not (tmp_path / "model.out").exists()


def test_exports_of_other_networks_go_on_to_monai(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"network_def": {"_target_": "UNet"}}))
    words = ["ckpt_export", "--config_file", str(tmp_path / "other.json")]
    assert as_typed(words) == words


def test_init_bundle_makes_no_file_that_this_bundle_lacks(command: Command, bundle_root: Path, tmp_path: Path) -> None:
    command("init_bundle", tmp_path / "new", "--dataset_license", "True")
    made = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert {"configs/metadata.json", "configs/inference.json", "LICENSE"} <= made
    assert [name for name in made if not (bundle_root / name).is_file()] == []
    theirs, ours = (
        json.loads((root / "configs" / "metadata.json").read_text()) for root in (tmp_path / "new", bundle_root)
    )
    assert theirs.keys() - ours.keys() == set()


def test_get_bundle_info_of_the_packed_bundle(monkeypatch: pytest.MonkeyPatch, bundle_root: Path) -> None:
    """As a zoo lists it that holds the archive under the name that ``make package`` gives it."""
    from tools.package import archive_name

    name = archive_name(bundle_root).removesuffix(".zip")
    source = f"https://example.org/{name}.zip"

    class Answer:
        text = json.dumps({name: {"checksum": "", "source": source}})

        def raise_for_status(self) -> None: ...

    monkeypatch.setattr("monai.bundle.scripts.requests.get", lambda *_, **__: Answer())
    assert monai.bundle.get_bundle_info("msmedcap") == {"name": name, "browser_download_url": source}
    assert monai.bundle.get_bundle_versions("msmedcap")["latest_version"] == name.removeprefix("msmedcap_v")
    with pytest.raises(ValueError, match="not existing"):
        monai.bundle.get_bundle_info("msmedcap", version="9.9.9")


def test_every_subcommand_has_a_test_and_a_row_in_the_docs() -> None:
    import monai.bundle.__main__ as subcommands

    tests = Path(__file__).parents[1]
    text = "".join(file.read_text() for part in ("ecosystem", "tools") for file in (tests / part).glob("test_*.py"))
    names = [name for name, value in vars(subcommands).items() if callable(value)]
    assert len(names) >= 10
    assert [name for name in names if name not in text] == []
    page = (tests.parent / "docs" / "monai.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]*) \| (yes|refused|once[^|]*) \|", page, re.MULTILINE)
    listed = re.findall(r"`(\w+)", " ".join(first for first, _ in rows))
    assert sorted(set(names) - set(listed)) == []
    refused = [name for first, works in rows for name in re.findall(r"`(\w+)`", first) if works == "refused"]
    assert refused == ["ckpt_export", "onnx_export", "trt_export"], "those that the tests above see refused"
