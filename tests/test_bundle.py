"""The bundle as MONAI sees it: metadata, properties of every workflow, network input and output."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from jsonschema import Draft7Validator
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from packaging.specifiers import SpecifierSet

# What the published schema meta_schema_20240725 demands, in the form of its own rules.
TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": [
        "schema",
        "version",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    ],
    "properties": {
        "authors": {"type": "string"},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "changelog": {"type": "object"},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "additionalProperties": TENSOR},
                "outputs": {"type": "object", "additionalProperties": TENSOR},
            },
        },
    },
}


@pytest.fixture(scope="module")
def datalist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two made images, enough to build every part of a workflow."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("data")
    entries = []
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 48), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        entries.append({"image": f"{number}.png", "caption": f"Axial CT number {number}."})
    path = folder / "datalist.json"
    path.write_text(json.dumps({"training": entries, "validation": entries, "test": entries}))
    return path


def test_metadata_passes_the_schema(bundle_root: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    verify_metadata(meta_file=str(bundle_root / "configs" / "metadata.json"), filepath=str(schema))
    metadata = json.loads((bundle_root / "configs" / "metadata.json").read_text())
    del metadata["network_data_format"]["inputs"]["image"]["dtype"]
    assert not Draft7Validator(SCHEMA).is_valid(metadata)  # the check can fail


def required_versions(bundle_root: Path) -> dict[str, str]:
    """Package to version, all that metadata.json asks for."""
    metadata = json.loads((bundle_root / "configs" / "metadata.json").read_text())
    wanted = {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
    return wanted | {"numpy": metadata["numpy_version"], **metadata["required_packages_version"]}


def test_metadata_s_versions_hold_the_installed_and_the_pinned_ones(bundle_root: Path) -> None:
    """A model zoo installs ``name==version``: ``5.24.*`` is a range to it, too."""
    import importlib.metadata

    lines = (bundle_root.parent / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    for package, version in required_versions(bundle_root).items():
        allowed = SpecifierSet(f"=={version}")
        assert importlib.metadata.version(package) in allowed, package
        assert pinned[package] in allowed, package


def test_metadata_requires_what_captions_and_training_import_and_no_service(bundle_root: Path) -> None:
    import importlib.metadata

    imported = set()
    for path in (bundle_root / "scripts").rglob("*.py"):
        if "service" not in path.parts and path.name not in ("serve.py", "body_limits.py", "connections.py"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            imported |= {name.name for node in body if isinstance(node, ast.Import) for name in node.names}
            imported |= {node.module for node in body if isinstance(node, ast.ImportFrom)}
    packages = importlib.metadata.packages_distributions()
    roots = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) - {"scripts", "__future__"}
    needed = {packages[root][0].lower().replace("_", "-") for root in roots}
    required = {name.replace("_", "-") for name in required_versions(bundle_root)}
    assert needed - required == set()
    assert required & {"fastapi", "uvicorn", "prometheus-client", "python-multipart"} == set()


def test_metadata_s_figures_are_the_model_card_s(bundle_root: Path) -> None:
    card = (bundle_root / "docs" / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((bundle_root / "configs" / "metadata.json").read_text())["eval_metrics"]
    assert {"plane", "organ", "CIDEr-D"} <= set(metrics)
    for name, value in metrics.items():
        [row] = re.findall(rf"^\| {re.escape(name)}(?: \([^|]*\))? \| (\d*\.\d+)", card, re.MULTILINE)
        assert float(row) == value, name


@pytest.mark.parametrize(
    ("files", "workflow"),
    [
        (["pretrain.json"], "train"),
        (["pretrain.json", "tune_general.json"], "train"),
        (["train.json"], "train"),
        (["train.json", "evaluate.json"], "train"),
        (["inference.json"], "infer"),
    ],
)
def test_every_workflow_has_its_properties(
    bundle_root: Path, datalist: Path, tmp_path: Path, files: list[str], workflow: str
) -> None:
    built = ConfigWorkflow(
        config_file=[str(bundle_root / "configs" / name) for name in files],
        meta_file=str(bundle_root / "configs" / "metadata.json"),
        logging_file=str(bundle_root / "configs" / "logging.conf"),
        workflow_type=workflow,
        bundle_root=str(bundle_root),
        dataset_dir=str(datalist.parent),
        output_dir=str(tmp_path / "out"),
        feature_cache_dir="",
        device="cpu",
    )
    built.initialize()
    assert built.check_properties() == []


def test_run_and_run_training_are_the_same(bundle_root: Path) -> None:
    for name in ("pretrain.json", "train.json"):
        parser = ConfigParser()
        parser.read_config(str(bundle_root / "configs" / name))
        parser.parse()
        assert parser["run"] == parser["training"] and len(parser["run"]) == 4


@pytest.mark.parametrize("name", ["pretrain", "train", "evaluate", "inference"])
def test_every_value_of_a_config_stands_under_a_heading_and_is_described(bundle_root: Path, name: str) -> None:
    config = json.loads((bundle_root / "configs" / f"{name}.json").read_text())
    heading, undescribed = "", []
    for key, value in config.items():
        if isinstance(value, str) and value.startswith("==== "):
            heading = value
        elif heading.startswith("==== Parts") or heading.startswith("==== What is run") or key.startswith("_desc_"):
            continue
        elif key != "imports" and not (heading and config.get(f"_desc_{key}")):
            undescribed.append(key)
    assert undescribed == []


def test_a_trace_names_every_value_that_shapes_a_caption(bundle_root: Path) -> None:
    """What the settings of a trace leave out is a place, counts by its hash, or is in the network's structure."""
    config = json.loads((bundle_root / "configs" / "inference.json").read_text())
    parts = [key for key, value in config.items() if isinstance(value, str) and value.startswith("==== Parts")]
    names = list(config)[: list(config).index(parts[0])]
    values = {name for name in names if not name.startswith("_") and name != "imports"}
    left_out = {"bundle_root", "stage", "output_dir", "dataset_dir", "datalist", "section", "workers", "config_files"}
    left_out |= {"resume", "outputs", "output_options", "explain", "calibration", "weights", "concept_reader"}
    left_out |= {"familiarity", "similar_cases"}
    left_out |= {"general_encoder_weights", "detail_encoder_weights", "language_model_name"}
    left_out |= {"queries", "qformer_width", "qformer_layers", "qformer_heads", "qformer_intermediate"}
    left_out |= {"general_trainable_blocks", "detail_trainable_blocks", "token_positions"}
    left_out |= {"general_token_norm", "detail_token_norm"}
    assert set(config["provenance"]["settings"]) == values - left_out


def test_network_input_and_output_fit_the_metadata(
    bundle_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle_root)
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle_root / "configs" / "metadata.json"),
        config_file=str(bundle_root / "configs" / "inference.json"),
        device="cpu",
    )


def test_stages_share_one_architecture(bundle_root: Path) -> None:
    """A value that shapes the network is the same in all three configs, so that checkpoints pass between them."""
    shared = ("image_size", "sam_layout", "sam_pool", "queries", "qformer_width", "qformer_layers", "qformer_heads")
    shared += ("qformer_intermediate", "detail_encoder_weights", "detail_encoder")
    configs = {}
    for name in ("pretrain", "train", "inference"):
        configs[name] = json.loads((bundle_root / "configs" / f"{name}.json").read_text())
    for key in shared:
        assert configs["pretrain"][key] == configs["train"][key] == configs["inference"][key], key
    for key in ("branches", "language_model_name", "prompt", "num_beams", "max_new_tokens", "general_encoder_weights"):
        assert configs["train"][key] == configs["inference"][key], key


def test_settings_promised_on_the_command_line_exist(bundle_root: Path) -> None:
    common = {"bundle_root", "device", "dataset_dir", "datalist", "output_dir", "amp_dtype", "batch_size"}
    training = common | {"epochs", "learning_rate", "val_interval", "resume", "feature_cache_dir"}
    inference = common | {"window", "prompt", "num_beams", "max_new_tokens", "explain", "outputs"}
    for name, keys in {"pretrain": training, "train": training, "inference": inference}.items():
        config = json.loads((bundle_root / "configs" / f"{name}.json").read_text())
        assert keys <= set(config), name


def test_no_file_of_the_bundle_is_over_25_mb(bundle_root: Path) -> None:
    large = [path for path in bundle_root.rglob("*") if path.is_file() and path.stat().st_size > 25_000_000]
    assert [path for path in large if "runs" not in path.parts] == []


def test_shipped_weights_are_all_there_and_finite(bundle_root: Path) -> None:
    from scripts.weights.loading import read_state

    state = read_state(bundle_root / "models" / "model.pt")
    assert {"general", "detail"} <= {name.split(".")[1] for name in state if name.startswith("branches.")}
    assert all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point())


ENTRIES = {
    "imports",
    "initialize",
    "finalize",
    "training",
    "caching",
    "export",
    "postprocessing",
    "handlers_id",
    "configs",
}
"""What MONAI or a command line asks for by name, so that no value has to."""


def test_no_value_of_a_config_is_read_by_nobody(bundle_root: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((bundle_root / "configs").glob("*.json"))}
    every = "\n".join(text for path, text in texts.items() if path.name != "metadata.json")
    names = [
        (path.name, name)
        for path, text in texts.items()
        if path.name != "metadata.json"
        for name in json.loads(text)
        if not name.startswith("_") and "#" not in name and name not in ENTRIES  # "#": a part of what is elsewhere
    ]
    assert len(names) > 100
    assert [pair for pair in names if not re.search(rf"[@%]{re.escape(pair[1])}(?![A-Za-z0-9_])", every)] == []
