"""GGUF -> ``from_pretrained`` folder, once: reading a GGUF takes 15 s a start, the safetensors made from it 0.5 s.

The weights are stored as float16. The GGUF's 4-bit blocks are ``scale * q + minimum`` with float16 scale and minimum,
so float16 adds a rounding of at most 2^-11 of a weight where the quantisation step itself is about 1/15 of its block.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from scripts.atomic import write_text_atomically
from scripts.weights.intact import crc32

STAMP = "conversion.json"


def conversion_intact(folder: Path) -> bool:
    """Whether ``folder`` holds a finished conversion whose files are, to the bit, those that were written."""
    try:
        written = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return bool(written) and written == _describe(folder) and _sums_agree(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of ``transformers`` inside; the user's own setting afterwards."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write model, configuration and tokenizer of ``gguf`` to ``folder``; the folder appears complete or not at all."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(gguf, temporary)
        (temporary / STAMP).write_text(json.dumps(_describe(temporary)))
        _note(folder).unlink(missing_ok=True)
        if folder.exists():  # left by an interrupted or damaged conversion
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(gguf: Path, folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.pad_token = tokenizer.unk_token  # <|endoftext|>: padding and end of caption must differ
    tokenizer.save_pretrained(folder)
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    state = {key: value.to(torch.float16).contiguous() for key, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "tokenizer.json", folder / "model.safetensors")  # safetensors writes for the owner only
    (folder / "config.json").write_text(json.dumps(_clean(model.config.to_dict()), indent=2))
    model.generation_config.save_pretrained(folder)


def _clean(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without its memory of the GGUF, which would make ``from_pretrained`` look for that file."""
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    return {**config, "architectures": ["LlamaForCausalLM"], "dtype": "float16"}


def _describe(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of every file but the stamp."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != STAMP)
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


def _sums_agree(folder: Path) -> bool:
    """Whether every file still has the CRC-32 that was noted beside the folder; notes them the first time.

    CRC-32 takes 0.1 s, SHA-256 0.3 s: this is about disks that lose bits. Who could change files here on purpose could
    change the note, too.
    """
    note = _note(folder)
    sums = {path.name: crc32(path) for path in sorted(folder.iterdir()) if path.is_file()}
    try:
        return json.loads(note.read_text()) == sums
    except (OSError, ValueError):
        with suppress(OSError):  # a read-only cache
            write_text_atomically(note, json.dumps(sums))
        return True


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.crc32.json")
