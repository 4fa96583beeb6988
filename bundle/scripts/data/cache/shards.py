"""Tensors on disk in safetensors shards, written atomically, checksummed per item, never trusted unread.

Each shard ``<name>.safetensors`` has an index ``<name>.json`` beside it that names its items and their checksums. A
shard exists once its index does, so a killed writer leaves nothing that a reader would see; what it leaves is swept
when nobody writes. Shards are numbered: of two that hold an item the later number counts, whatever the clock said.
Writers in several processes never share a file. ``<key>.damaged`` names the shard in which an item was found damaged:
it then counts as missing for every process, until a later shard holds it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from scripts.atomic import flush_folder, write_text_atomically
from scripts.data.cache.key import digest
from scripts.errors import InputError

logger = logging.getLogger(__name__)
STORED_DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}
SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = 30.0  # a killed build loses at most this much work
_MARK = ".damaged"
_WRITERS = ".writers.lock"
_OPEN_SHARDS = 16  # shards kept open per process; each is a memory map


class DamagedItemError(RuntimeError):
    """An item whose bytes on disk do not match its checksum, or whose shard cannot be opened."""


def pack(tensor: torch.Tensor, dtype: str) -> dict[str, torch.Tensor]:
    """Turn tokens ``[N, C]`` into what is stored: one tensor, or int8 values and a scale ``[N, 1]`` per token.

    Raises:
        InputError: a value is not finite, or too large for float16.
    """
    tensor = tensor.detach().to("cpu", torch.float32)
    if dtype == "int8":
        scale = tensor.abs().amax(dim=-1, keepdim=True) / 127.0
        values = torch.round(tensor / scale.clamp_min(torch.finfo(torch.float32).tiny)).clamp_(-127, 127)
        packed = {"values": values.to(torch.int8), "scale": scale}
        finite = bool(torch.isfinite(scale).all())
    else:
        packed = {"values": tensor.to(STORED_DTYPES[dtype])}
        finite = bool(torch.isfinite(packed["values"]).all())
    if not finite:
        raise InputError(f"its encoder tokens are not finite in {dtype}; check the image, or store float32.")
    return {name: part.contiguous() for name, part in packed.items()}


def unpack(stored: dict[str, torch.Tensor]) -> torch.Tensor:
    """Undo ``pack``: tokens ``[N, C]`` in float32."""
    values = stored["values"].to(torch.float32)
    return values * stored["scale"] if "scale" in stored else values


class ShardStore:
    """Items (a key and named tensors each) in one folder of shards.

    Args:
        folder: where shards lie; created if absent.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._items: dict[str, tuple[str, int, str]] = {}
        self._indexed: set[str] = set()
        self._damaged: dict[str, str] = {}
        self._open: dict[tuple[int, str], Any] = {}
        self.reload()

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # memory maps do not travel to other processes

    def reload(self) -> None:
        """Pick up what other processes have finished, or found damaged, since the last look."""
        # names start with a number that grows, so a repaired item replaces the damaged one
        for index in sorted(self.folder.glob("*.json")):
            if index.stem not in self._indexed:
                self._indexed.add(index.stem)
                for slot, (key, checksum) in enumerate(_read_index(index)):
                    self._items[key] = (index.stem, slot, checksum)
        self._damaged = dict(found for mark in self.folder.glob(f"*{_MARK}") if (found := self._found_damaged(mark)))
        for key in self._damaged:
            self._items.pop(key, None)

    def _found_damaged(self, mark: Path) -> tuple[str, str] | None:
        """Key and damaged shard that ``mark`` names; None where the item has been written anew since."""
        try:
            key, shard = mark.stem, mark.read_text(encoding="utf-8")
        except OSError:  # another process has just written the item and taken the mark away
            return None
        return (key, shard) if key not in self._items or self._items[key][0] == shard else None

    def write(self, items: list[tuple[str, dict[str, dict[str, torch.Tensor]]]]) -> None:
        """Write one shard of ``(key, {tensor name: packed tensors})`` and make it visible.

        Raises:
            InputError: the disk is full; earlier shards stay intact.
        """
        with _writing(self.folder):
            self._write(f"{self._next_number():020d}-{secrets.token_hex(4)}", items)

    def _next_number(self) -> int:
        """One more than that of any shard, finished or not, of this or another process."""
        numbers = [int(file.name[:20]) for file in self.folder.glob("*.safetensors") if file.name[:20].isdigit()]
        return max(numbers, default=0) + 1

    def _write(self, name: str, items: list[tuple[str, dict[str, dict[str, torch.Tensor]]]]) -> None:
        tensors, index = {}, []
        for slot, (key, named) in enumerate(items):
            flat = {f"{slot}/{n}/{part}": t for n, packed in named.items() for part, t in packed.items()}
            tensors.update(flat)
            index.append([key, _checksum(key, flat)])
        shard, temporary = self.folder / f"{name}.safetensors", self.folder / f".{name}.tmp"
        try:
            save_file(tensors, temporary)
            _commit(temporary, shard)
            temporary.write_text(json.dumps({"items": index, "checksum": digest(index)}))
            _commit(temporary, shard.with_suffix(".json"))
            flush_folder(self.folder)
        except Exception as error:
            temporary.unlink(missing_ok=True)
            if not shard.with_suffix(".json").exists():
                shard.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC or "space" in str(error):
                raise InputError(f"the disk of {self.folder} is full; free space and run again to go on.") from error
            raise
        self._indexed.add(name)
        for slot, (key, checksum) in enumerate(index):
            self._items[key] = (name, slot, checksum)
            if self._damaged.pop(key, None):
                self._mark(key).unlink(missing_ok=True)

    def read(self, key: str) -> dict[str, torch.Tensor]:
        """Read, verify and unpack one item: tensor name to tokens ``[N, C]`` float32.

        Raises:
            KeyError: there is no such item.
            DamagedItemError: the bytes on disk are not those that were written.
        """
        shard, slot, checksum = self._items[key]
        try:
            handle = self._handle(shard)
            flat = {name: handle.get_tensor(name) for name in handle.keys() if name.startswith(f"{slot}/")}  # noqa: SIM118
        except Exception as error:  # safetensors raises its own error types for damaged headers
            raise DamagedItemError(f"shard {shard} in {self.folder} cannot be opened: {error}") from error
        if _checksum(key, flat) != checksum:
            raise DamagedItemError(f"an item of shard {shard} in {self.folder} does not match its checksum")
        named: dict[str, dict[str, torch.Tensor]] = {}
        for full_name, tensor in flat.items():
            _, name, part = full_name.split("/")
            named.setdefault(name, {})[part] = tensor
        return {name: unpack(stored) for name, stored in named.items()}

    def forget(self, key: str) -> None:
        """Let a damaged item count as missing, here and in every process that looks later, until it is written anew.

        A worker that must not encode can so leave the repair to the next build.
        """
        shard = self._damaged[key] = self._items.pop(key)[0]
        with contextlib.suppress(OSError):  # a folder that cannot be written cannot be repaired either
            write_text_atomically(self._mark(key), shard)

    def recheck(self) -> None:
        """Read all that shards with a damaged item hold, and forget what else is damaged there."""
        suspects = set(self._damaged.values())
        for key in [key for key, (shard, _, _) in self._items.items() if shard in suspects]:
            try:
                self.read(key)
            except DamagedItemError:
                self.forget(key)

    def is_damaged(self, key: str) -> bool:
        """Whether the item was found damaged, by any process, and has not been written anew."""
        return key in self._damaged

    def _mark(self, key: str) -> Path:
        return self.folder / f"{key}{_MARK}"

    def sweep(self) -> None:
        """Remove what killed writers left: temporary files, and shards without an index. Not while others write."""
        with _writing(self.folder, alone=True) as alone:
            for file in self.folder.iterdir() if alone else ():
                orphan = file.suffix == ".safetensors" and not file.with_suffix(".json").exists()
                if orphan or (file.name.startswith(".") and file.suffix == ".tmp"):
                    file.unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Return the bytes that finished shards take on disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))

    def _handle(self, shard: str) -> Any:
        place = (os.getpid(), shard)
        if place not in self._open:
            while len(self._open) >= _OPEN_SHARDS:
                self._open.pop(next(iter(self._open)))
            self._open[place] = safe_open(self.folder / f"{shard}.safetensors", framework="pt")
        return self._open[place]


class ShardBuffer:
    """Collects items and writes a shard when it is large or old enough."""

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self._items: list[tuple[str, dict[str, dict[str, torch.Tensor]]]] = []
        self._bytes = 0
        self._since = time.monotonic()

    def add(self, key: str, named: dict[str, dict[str, torch.Tensor]]) -> None:
        self._items.append((key, named))
        self._bytes += sum(part.nbytes for packed in named.values() for part in packed.values())
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._since > SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._items:
            self._store.write(self._items)
        self._items, self._bytes, self._since = [], 0, time.monotonic()


def _read_index(path: Path) -> list[list[str]]:
    """Read a shard's index; a damaged one is named and counts as empty, so its items are computed again."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["checksum"] == digest(content["items"]):
            return content["items"]
    logger.warning("feature cache: the index %s is damaged; what its shard holds is computed again.", path)
    return []


@contextlib.contextmanager
def _writing(folder: Path, *, alone: bool = False) -> Iterator[bool]:
    """Inside, this process writes; with ``alone``, yields whether no other one does.

    The lock dies with its process. Where a file system has none, nobody is ever alone.
    """
    import fcntl

    with (folder / _WRITERS).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except OSError:
            yield False
            return
        yield True


def _checksum(key: str, tensors: dict[str, torch.Tensor]) -> str:
    """Hash key, part names, shapes and bytes; the slot number is left out of the name."""
    total = hashlib.sha256(key.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name.partition('/')[2]} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def _commit(temporary: Path, final: Path) -> None:
    """Flush ``temporary`` to disk and rename it to ``final``."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, final)
