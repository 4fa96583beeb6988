"""Plan of ``run.py``: the arms, what is the same for all of them, and the command of each stage."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.atomic import write_text_atomically
from scripts.errors import InputError

SECTION = "validation"
_SAVE_EVERY = 50  # iterations between checkpoints
_WARMUP_SHARE = 5  # at most a fifth of a run is warm-up


@dataclass(frozen=True)
class ArmPlan:
    """One arm: the overlays that make it, whether it has a stage 1, and which of ``TOKENS`` it reads."""

    name: str
    title: str
    overlays: tuple[str, ...] = ()
    stage1: bool = True
    tokens: str = "spatial"

    @property
    def stage1_name(self) -> str:
        """Arms with the same overlays have the same stage 1."""
        return "+".join(Path(overlay).stem for overlay in self.overlays) or "plain"


# Overlays that encode what arms read. The general encoder's tokens are the same in both, so it runs for the first only.
TOKENS = {"spatial": (), "channel": ("sam_channel.json", "branch_detail.json")}

ARMS = {
    arm.name: arm
    for arm in (
        ArmPlan("both", "both branches, spatial tokens, stage 1"),
        ArmPlan("general", "general branch only", ("branch_general.json",)),
        ArmPlan("detail", "detail branch only", ("branch_detail.json",)),
        ArmPlan("channel", "both, channel tokens", ("sam_channel.json",), tokens="channel"),
        ArmPlan("no_stage1", "both, without stage 1", ("no_pretraining.json",), stage1=False),
        ArmPlan("random", "both, without stage 1, from random", ("random_start.json",), stage1=False),
    )
}


@dataclass(frozen=True)
class Settings:
    """What is the same for all arms.

    Args:
        data: folder with ``datalist.json`` and its images.
        out: folder of the ablation.
        features: feature cache.
        pretrain_epochs, caption_epochs: passes of the stages.
        instead_epochs: passes of stage 2 that arms without stage 1 get besides, in its place.
        lora_rank: of the language model's adapters; 0 leaves it frozen, as in the paper.
        limit: training cases used, evenly spaced over the list; 0 uses all.
        amp: precision of encoders and training, as in ``tools/starter.sh``.
        cache_dtype: how tokens are stored.
        general_encoder: weights of the general encoder.
        overlays: config files laid over every stage of every arm.
        bundle: the bundle's folder.
        keep: keep all checkpoints.
    """

    data: Path
    out: Path
    features: Path
    pretrain_epochs: int = 1
    caption_epochs: int = 1
    instead_epochs: int = 0
    lora_rank: int = 0
    limit: int = 0
    amp: str = "bfloat16"
    cache_dtype: str = "float16"
    general_encoder: str = ""
    overlays: tuple[str, ...] = ()
    bundle: Path = Path("bundle")
    keep: bool = False

    def config(self, name: str) -> Path:
        return self.bundle / "configs" / name

    def kept_config(self, name: str) -> Path:
        """The copy that commands use: a config edited during the night changes no arm that comes after."""
        return self.out / "configs" / name

    @property
    def encoder_file(self) -> str:
        return self.general_encoder or str(self.bundle / "models" / "general_encoder.pt")

    @property
    def datalist(self) -> Path:
        return self.out / "datalist.json" if self.limit else self.data / "datalist.json"


def seed_folder(settings: Settings, arm: ArmPlan, seed: int) -> Path:
    return settings.out / arm.name / f"seed{seed}"


def stage1_folder(settings: Settings, arm: ArmPlan, seed: int) -> Path:
    return settings.out / "stage1" / f"{arm.stage1_name}-seed{seed}"


def epochs_of(settings: Settings, arm: ArmPlan, stage: str) -> int:
    """Passes of a stage; an arm without stage 1 goes on with captions for as long as the others had stage 1."""
    if stage == "pretrain.json":
        return settings.pretrain_epochs
    return settings.caption_epochs + (0 if arm.stage1 else settings.instead_epochs)


def caching_command(settings: Settings, tokens: str) -> list[str]:
    """Encode all images, so that both stages of the arms that read ``tokens`` find them."""
    return _bundle_command(settings, ["pretrain.json", *TOKENS[tokens]], "caching")


def training_command(settings: Settings, arm: ArmPlan, seed: int, stage: str, folder: Path) -> list[str]:
    """Stage 1 or 2 of an arm, as ``tools/starter.sh`` calls it."""
    epochs = epochs_of(settings, arm, stage)
    command = _bundle_command(settings, [stage, *arm.overlays], "training")
    command += ["--output_dir", str(folder), "--seed", str(seed), "--epochs", str(epochs), "--amp_dtype", settings.amp]
    warmup = recorded(settings.out)["warmup_steps"][stage != "pretrain.json"]
    command += ["--save_every", str(_SAVE_EVERY), "--warmup_steps", str(warmup)]
    if stage == "train.json":
        command += ["--language_model_dtype", "bfloat16" if settings.amp == "bfloat16" else "float32"]
        command += ["--lora_rank", str(settings.lora_rank)]
        if arm.stage1:
            command += ["--pretrained", str(stage1_folder(settings, arm, seed) / "model.pt")]
    return command


def evaluation_command(settings: Settings, arm: ArmPlan, seed: int, *, baselines: bool) -> list[str]:
    """Captions of the validation images and their scores, beside those of the config's baselines if wanted."""
    folder = seed_folder(settings, arm, seed)
    command = _bundle_command(settings, ["train.json", "evaluate.json", *arm.overlays], "run")
    # The concept reader looks through the general encoder: it would lend the detail arm what that arm is to do without.
    command += ["--concept_reader", "", *([] if baselines else ["--baselines", "False"])]
    return [*command, "--weights", str(folder / "train" / "model.pt"), "--output_dir", str(folder / "evaluate")]


def _bundle_command(settings: Settings, configs: Sequence[str], workflow: str) -> list[str]:
    names = [*configs, *(Path(overlay).name for overlay in settings.overlays)]
    files = [str(settings.kept_config(name)) for name in names]
    listed = "[" + ",".join(f"'{file}'" for file in files) + "]"
    command = [sys.executable, "-m", "monai.bundle", "run", workflow, "--config_file", listed]
    command += ["--bundle_root", str(settings.bundle), "--logging_file", str(settings.kept_config("logging.conf"))]
    command += ["--dataset_dir", str(settings.data), "--datalist", str(settings.datalist)]
    command += ["--feature_cache_dir", str(settings.features), "--cache_dtype", settings.cache_dtype]
    command += ["--cache_compute_dtype", settings.amp]
    return [*command, "--general_encoder_weights", settings.encoder_file]


def warmup_steps(settings: Settings, stage: str, epochs: int, cases: int) -> int:
    """The config's warm-up, but no more than a fifth of a short run over ``cases``; the same for all arms."""
    values = _values(settings.config(stage), *settings.overlays)
    steps = -(-cases // int(values["batch_size"])) * epochs
    return max(1, min(int(values["warmup_steps"]), steps // _WARMUP_SHARE))


def prepare(settings: Settings) -> None:
    """Write the datalist of a limited run, keep the configs, and refuse a folder of runs with other settings.

    Raises:
        InputError: the data are not there, or the folder is of other settings; nothing was written.
    """
    content = _datalist(settings)
    wanted, file = identity(settings, content), settings.out / "settings.json"
    if file.is_file():
        found = recorded(settings.out)
        different = [key for key in wanted if found.get(key) != wanted[key]]
        if different:
            shown = ", ".join(f"{key} {found.get(key)} there, {wanted[key]} now" for key in different)
            raise InputError(f"{settings.out} holds runs of other settings ({shown}); give another folder with --out")
    if settings.limit:
        write_text_atomically(settings.datalist, content.decode("utf-8"))
    sources = [settings.config(name) for name in ("pretrain.json", "train.json", "evaluate.json", "logging.conf")]
    for source in [*sources, *_arm_overlays(settings), *map(Path, settings.overlays)]:
        write_text_atomically(settings.kept_config(source.name), source.read_text(encoding="utf-8"))
    write_text_atomically(file, json.dumps(wanted, indent=1) + "\n")


def recorded(out: Path) -> dict[str, Any]:
    """The settings of the runs in a folder.

    Raises:
        InputError: it is no folder of an ablation.
    """
    try:
        return json.loads((out / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{out} holds no ablation ({error}); run it without --report_only first") from None


def identity(settings: Settings, datalist: bytes) -> dict[str, Any]:
    """What must be equal for runs to be compared, with hashes of data, encoder and config values."""
    cases = json.loads(datalist)
    configs = [_values(settings.config(name), *settings.overlays) for name in ("pretrain.json", "train.json")]
    configs += [_values(file) for file in (settings.config("evaluate.json"), *_arm_overlays(settings))]
    encoder = Path(settings.encoder_file)
    stages = (("pretrain.json", settings.pretrain_epochs), ("train.json", settings.caption_epochs))
    count = len(cases["training"])
    return {
        "pretrain_epochs": settings.pretrain_epochs,
        "caption_epochs": settings.caption_epochs,
        "instead_epochs": settings.instead_epochs,
        "lora_rank": settings.lora_rank,
        "warmup_steps": [warmup_steps(settings, stage, epochs, count) for stage, epochs in stages],
        "limit": settings.limit,
        "sizes": {name: len(cases[name]) for name in ("training", SECTION)},
        "overlays": [Path(overlay).name for overlay in settings.overlays],
        "amp": settings.amp,
        "cache_dtype": settings.cache_dtype,
        "datalist": sha256(datalist),
        # a file, or "starter"
        "general_encoder": sha256(encoder.read_bytes()) if encoder.is_file() else settings.encoder_file,
        "configs": sha256(json.dumps(configs, sort_keys=True).encode()),
    }


def _arm_overlays(settings: Settings) -> list[Path]:
    return [settings.config(overlay) for arm in ARMS.values() for overlay in arm.overlays]


def _values(*files: str | Path) -> dict[str, Any]:
    """Values of a config and what is laid over it, descriptions left out."""
    merged: dict[str, Any] = {}
    for file in map(Path, files):
        try:
            merged |= json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"config {file} cannot be read: {error}") from None
    return {key: value for key, value in merged.items() if not key.startswith("_desc")}


def _datalist(settings: Settings) -> bytes:
    """The datalist that is trained on: the data's own, or with fewer training cases."""
    path = settings.data / "datalist.json"
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
        empty = [name for name in ("training", SECTION) if not content[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be used ({error}); DATA is a folder with datalist.json, its sections training and {SECTION}"
        ) from None
    if empty:
        raise InputError(f"section {empty[0]} of {path} has no case")
    cases = content["training"]
    if not settings.limit:
        return raw
    count = min(settings.limit, len(cases))
    content["training"] = [cases[index * len(cases) // count] for index in range(count)]
    return json.dumps(content).encode("utf-8")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
