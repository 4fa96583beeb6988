"""Feature cache: tokens of the frozen encoders, computed once per image and read back in every step.

SAM at 1024 is 67 % of a stage-1 step and 84 % of a stage-2 step when it runs each time; frozen encoders give the same
tokens each time, so they run once. What tokens depend on is in the folder name (encoders, transform, precision) and in
each item's key (image files), see ``cache_key``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from scripts.atomic import write_text_atomically
from scripts.data.cache.cache_options import CacheOptions
from scripts.data.cache.case_images import CaseImages, case_name, draws_at_random, failure_sentence, readable_size
from scripts.data.cache.jobs import CacheJobs
from scripts.data.cache.key import case_key, describe, digest
from scripts.data.cache.shards import STORED_DTYPES, DamagedItemError, ShardBuffer, ShardStore, pack
from scripts.data.datalist import image_paths
from scripts.distributed import gather_objects, rank, world_size
from scripts.errors import InputError
from scripts.kernels.precision import autocast

logger = logging.getLogger(__name__)
_SPARE_BYTES = 256 * 2**20  # never fill a disk to the last byte


@dataclass
class BuildReport:
    """What a build did: counts of cases, bytes on disk, and the cases that could not be encoded."""

    total: int
    cached: int
    encoded: int = 0
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


class FeatureCache:
    """Encoder tokens of cases, on disk.

    Args:
        options: where, of which encoders, and how.
        transform: case dictionary -> dictionary whose ``image`` is ``[3, H, W]`` or ``[V, 3, H, W]`` in [0, 1].

    Raises:
        InputError: random versions are asked of a transform that draws nothing.
    """

    def __init__(self, options: CacheOptions, transform: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        if options.augmented_views and not draws_at_random(transform):
            raise InputError(
                "augmented_views caches random versions of images, but the transform has nothing random in it: "
                "add random transforms to train#preprocessing, or set augmented_views to 0."
            )
        self.options = options
        self.encoders = dict(options.encoders)
        self.transform = transform
        self.augmented_views = options.augmented_views
        self.root = os.path.abspath(options.root) if options.root else None
        self.description = {
            "format": 1,
            "encoders": {name: encoder.fingerprint() for name, encoder in self.encoders.items()},
            "transform": describe(transform),
            "dtype": options.dtype,
            "compute_dtype": options.autocast_dtype,
            "float32_products": torch.get_float32_matmul_precision(),
            "augmented": [options.augmented_views, options.seed] if options.augmented_views else None,
        }
        self.folder = Path(options.folder) / digest(self.description)[:16]
        self.store = ShardStore(self.folder)
        self._write_description()

    def build(self, items: Sequence[dict[str, Any]], *, part: tuple[int, int] | None = None) -> BuildReport:
        """Compute what is missing or was found damaged; may be killed at any time and run again.

        Under ``torch.distributed`` each process takes its part and all wait for each other. On CPU the encoders see
        one image at a time (no slower, and tokens then do not depend on which images were missing).

        Args:
            items: cases with absolute image paths.
            part: ``(index, count)`` of this process among several; None asks ``torch.distributed``.

        Raises:
            InputError: the disk is too small (before any work), or cases failed (after all others were done) and
                ``skip_failed`` is not set.
        """
        self.store.reload()
        self.store.sweep()
        self.store.recheck()  # where a reader found one damaged item, others may be
        index, count = part or (rank(), world_size())
        jobs = self._missing(items)
        mine = self._missing(items, part=(index, count))
        report = BuildReport(total=len(items) * max(1, self.augmented_views), cached=0)
        report.cached = report.total - len(jobs)
        self._check_space(jobs, report, announce=index == 0)
        show = self.options.progress and index == 0
        with self._encoders_on(self.options.device if mine else None) as target:
            batch_size = self.options.batch_size or (1 if target.type == "cpu" else 16)
            self._encode_all(mine, report, batch_size, self.options.workers, target, show)
        if part is None:
            self._join_reports(report)
        self.store.reload()
        report.bytes = self.store.size_bytes()
        if report.failed and not self.options.skip_failed:
            raise InputError(failure_sentence(report.failed))
        return report

    def tokens(self, item: dict[str, Any], *, view: int = 0) -> dict[str, torch.Tensor]:
        """Return ``{"general_tokens": [N, C], ...}`` in float32; views of a case lie one after another, ``[V*N, C]``.

        A damaged or missing item is computed again and stored.

        Raises:
            InputError: the image cannot be read.
        """
        key = self._key(item, view)
        for attempt in ("here", "elsewhere"):
            if key in self.store:
                try:
                    return {f"{name}_tokens": tokens for name, tokens in self.store.read(key).items()}
                except DamagedItemError as error:
                    logger.warning("feature cache: %s; it is computed again.", error)
                    self.store.forget(key)
            if attempt == "here":
                self.store.reload()  # another process may have written it meanwhile
        self._repair(item, view, key)
        return {f"{name}_tokens": tokens for name, tokens in self.store.read(key).items()}

    def missing(self, items: Sequence[dict[str, Any]]) -> int:
        """Return how many tokens sets of ``items`` are not on disk yet."""
        return len(self._missing(items))

    def verify(self, items: Sequence[dict[str, Any]], *, repair: bool = True) -> int:
        """Read every item back against its checksum; returns how many were damaged (and, by default, repairs them).

        Those that an earlier reader found damaged and nobody has repaired count, too. Without ``repair`` the next
        build computes them again.
        """
        damaged: dict[str, tuple[dict[str, Any], int]] = {}
        for item, view in self._jobs(items):
            key = self._key(item, view)
            if key in self.store:
                try:
                    self.store.read(key)
                except DamagedItemError as error:
                    logger.warning("feature cache: %s (%s)", error, case_name(item))
                    self.store.forget(key)
            if self.store.is_damaged(key):
                damaged[key] = (item, view)
        for key, (item, view) in damaged.items() if repair else ():
            self._repair(item, view, key)
        return len(damaged)

    def estimate_bytes(self, items: Iterable[dict[str, Any]]) -> int:
        """Return the bytes that the tokens of ``items`` take, taking each path as one view."""
        per_token = torch.tensor([], dtype=STORED_DTYPES[self.options.dtype]).element_size()
        extra = 4 if self.options.dtype == "int8" else 0
        one = sum(e.token_count * (e.width * per_token + extra) for e in self.encoders.values())
        return one * sum(len(image_paths(item)) for item in items) * max(1, self.augmented_views)

    def _jobs(self, items: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
        return ((item, view) for item in items for view in range(max(1, self.augmented_views)))

    def _key(self, item: dict[str, Any], view: int) -> str:
        key = case_key(item, root=self.root)
        return f"{key}-{view}" if self.augmented_views else key

    def _missing(self, items: Sequence[dict[str, Any]], part: tuple[int, int] = (0, 1)) -> CacheJobs:
        """Jobs not on disk, each image once; a missing file has no key and fails later, by name.

        Parts are cut by position among all jobs, done or not: they stay disjoint while other processes write.
        """
        jobs, seen = CacheJobs(items), set()
        for number, item in enumerate(items):
            for view in range(max(1, self.augmented_views)):
                try:
                    key = self._key(item, view)
                except InputError:
                    key = ""
                name = hash(key or f"{case_name(item)} {view}")  # a number takes a third of the text
                if name not in seen and len(seen) % part[1] == part[0] and key not in self.store:
                    jobs.add(number, view, key)
                seen.add(name)
        return jobs

    def _check_space(self, jobs: Sequence[Any], report: BuildReport, *, announce: bool) -> None:
        need = self.estimate_bytes(item for item, _, _ in jobs) // max(1, self.augmented_views)
        free = shutil.disk_usage(self.folder).free
        if announce and jobs:
            logger.info(
                "feature cache %s: %d of %d to encode, about %s; %s free.",
                *(self.folder, len(jobs), report.total, readable_size(need), readable_size(free)),
            )
        if need and need + _SPARE_BYTES > free:
            raise InputError(
                f"the feature cache needs about {readable_size(need)}, but {self.folder} has {readable_size(free)} "
                "free; set feature_cache_dir to a larger disk, store int8, or pool the detail tokens."
            )

    def _encode_all(
        self,
        jobs: Sequence[tuple[dict[str, Any], int, str]],
        report: BuildReport,
        batch_size: int,
        workers: int,
        device: torch.device,
        progress: bool,
    ) -> None:
        shard = ShardBuffer(self.store)
        title = f"encoding {' + '.join(self.encoders)}"
        with tqdm(total=len(jobs), desc=title, unit="image", disable=not progress or not jobs) as bar:
            for group in self._read_groups(jobs, batch_size, workers):
                bar.update(len(group))
                images = [(jobs[number], image) for number, image in group if isinstance(image, torch.Tensor)]
                report.failed += [(case_name(jobs[n][0]), text) for n, text in group if isinstance(text, str)]
                for (item, _, key), named in zip((job for job, _ in images), self._encode(images, device), strict=True):
                    try:
                        shard.add(key, {name: pack(tokens, self.options.dtype) for name, tokens in named.items()})
                        report.encoded += 1
                    except InputError as error:
                        report.failed.append((case_name(item), str(error)))
        shard.flush()

    def _read_groups(self, jobs: Sequence[Any], batch_size: int, workers: int) -> Iterator[list[tuple[int, Any]]]:
        """Yield groups of ``(job number, image or reason of failure)``; reading runs in ``workers`` processes."""
        images = CaseImages(jobs, self.transform, self.options.seed if self.augmented_views else None)
        yield from torch.utils.data.DataLoader(
            images,
            batch_size=batch_size,
            num_workers=min(workers, len(jobs)),
            collate_fn=list,
            generator=torch.Generator(),  # leaves the global random state alone
        )

    @torch.no_grad()
    def _encode(self, images: list[tuple[Any, torch.Tensor]], device: torch.device) -> list[dict[str, torch.Tensor]]:
        """Encode images ``[V, 3, H, W]`` together where sizes agree; returns per case tokens ``[V*N, C]``."""
        results: list[dict[str, torch.Tensor]] = [{} for _ in images]
        by_size: dict[torch.Size, list[int]] = {}
        for number, (_, image) in enumerate(images):
            by_size.setdefault(image.shape[1:], []).append(number)
        for numbers in by_size.values():
            stack = torch.cat([images[number][1] for number in numbers]).to(device)
            views = [len(images[number][1]) for number in numbers]
            for name, encoder in self.encoders.items():
                with autocast(device, self.options.autocast_dtype):
                    tokens = encoder(stack)
                for number, part in zip(numbers, tokens.split(views), strict=True):
                    results[number][name] = part.flatten(0, 1).float().cpu()
        return results

    @contextlib.contextmanager
    def _encoders_on(self, device: str | torch.device | None) -> Iterator[torch.device]:
        """Run encoders on ``device`` inside the block and put them back afterwards."""
        homes = {name: next(encoder.parameters()).device for name, encoder in self.encoders.items()}
        target = torch.device(device) if device is not None else next(iter(homes.values()))
        try:
            for encoder in self.encoders.values():
                encoder.to(target)
            yield target
        finally:
            for name, encoder in self.encoders.items():
                encoder.to(homes[name])

    def _repair(self, item: dict[str, Any], view: int, key: str) -> None:
        report = BuildReport(total=1, cached=0)
        device = next(next(iter(self.encoders.values())).parameters()).device
        if device.type == "cuda" and torch.utils.data.get_worker_info() is not None:
            raise InputError(f"the cached tokens of {case_name(item)} are damaged; start again, they are then rebuilt.")
        self._encode_all([(item, view, key)], report, 1, 0, device, progress=False)
        if report.failed:
            raise InputError(failure_sentence(report.failed))

    def _join_reports(self, report: BuildReport) -> None:
        parts = gather_objects((report.encoded, report.failed))
        report.encoded = sum(encoded for encoded, _ in parts)
        report.failed = [failure for _, failed in parts for failure in failed]

    def _write_description(self) -> None:
        """Say in words what the folder was made with; for people, never read back."""
        path = self.folder.parent / f"{self.folder.name}.about.json"
        if not path.exists():
            write_text_atomically(path, json.dumps(self.description, indent=1))


def feature_caches(options: CacheOptions, transform: Callable[[dict[str, Any]], dict[str, Any]]) -> list[FeatureCache]:
    """One cache an encoder: tuning one encoder again leaves the tokens of the others valid."""
    return [
        FeatureCache(replace(options, encoders={name: encoder}), transform)
        for name, encoder in options.encoders.items()
    ]
