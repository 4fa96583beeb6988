"""SAM ViT-B at 1,024 px: `scripts.encoders.sam.SamEncoder` against the code of `segment_anything` 1.0.

    .venv/bin/python benchmarks/encoder.py [--quick | --smoke] [--threads N] [--repeats N]

Both have the same random weights and see the same image. Times are taken in turn in one process, the best of the
repeats: processor seconds with one thread (the default), wall seconds with more. Memory is the peak of the resident set
above what the process held with its weights loaded, each side in a process of its own. `--quick` takes 3 blocks instead
of 12, one of them global, which is ViT-B's share; `--smoke` shows on a tiny network in seconds that all of it runs.

The published code runs as it is, in float32, with PyTorch's defaults. Ours runs float32 products in oneDNN where a
probe finds that exact (`scripts.kernels.matmul`); the table's head says whether it did. Run it on an idle machine: a
busy neighbour takes more from ours than from the published code.

Where the processor has no bfloat16 units PyTorch emulates them, many times slower than float32. That case then runs
once, on a quarter of the blocks, its time is taken times four, and the table says so; `auto`, the precision to choose
on a machine one does not know, is float32 there.

The last line is one JSON object: `speedup_fp32`, `speedup_bf16` and `speedup_auto` are published float32 seconds over
ours, `memory_ratio` is ours over published, `max_rel_error` is the largest difference of the float32 feature maps over
the largest value, `bfloat16` is "native" or "emulated".
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import published_code  # noqa: E402
from own_process import apart  # noqa: E402

from scripts.encoders.sam import SamEncoder  # noqa: E402
from scripts.encoders.sam_vit import SAM_SIZES, SamSize  # noqa: E402
from scripts.kernels.matmul import onednn_is_exact  # noqa: E402
from scripts.kernels.packed_linear import type_can_be_packed  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402

THEIRS, OURS, ROUNDED = "segment_anything float32", "ours float32", "ours bfloat16"
BFLOAT16_IS_NATIVE = type_can_be_packed(torch.bfloat16)


class Case(NamedTuple):
    """A size of the encoder and the side of its image in pixels; `share` has fewer blocks of the same."""

    size: SamSize
    side: int
    share: SamSize


BASE = SAM_SIZES["base"]
QUARTER = BASE._replace(depth=3, global_blocks=(2,))
FULL, QUICK = Case(BASE, 1024, QUARTER), Case(QUARTER, 1024, QUARTER)
SMOKE = Case(SamSize(48, 2, 3, (1,)), 256, SamSize(48, 1, 3, (0,)))


def published(size: SamSize, side: int) -> nn.Module:
    """`segment_anything`'s encoder, random but the same at each call, no weight at a zero that would hide a term."""
    torch.manual_seed(0)
    network = published_code.segment_anything_encoder()(
        img_size=side,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        global_attn_indexes=size.global_blocks,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network.eval().requires_grad_(False)


def ours(size: SamSize, side: int, dtype: torch.dtype = torch.float32) -> SamEncoder:
    """Our encoder with the same weights."""
    encoder = SamEncoder(size=size, input_size=side)
    encoder.network.load_state_dict(published(size, side).state_dict())
    return encoder.to(dtype)


def image(side: int) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    with torch.inference_mode():
        result = run()
    return clock() - start, result


def compare(case: Case, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Best seconds and relative errors of each variant."""
    network, exact = published(case.size, case.side), ours(case.size, case.side)
    picture = image(case.side)
    pixels = exact.prepare(picture)
    variants: dict[str, Callable[[], Tensor]] = {
        THEIRS: lambda: network(pixels),
        OURS: lambda: exact(picture),
    }
    if BFLOAT16_IS_NATIVE:
        rounded = ours(case.size, case.side, torch.bfloat16)
        variants[ROUNDED] = lambda: rounded(picture)
    best: dict[str, float] = {}
    errors: dict[str, float] = {}
    reference: Tensor | None = None
    for _ in range(repeats):
        for name, run in variants.items():
            taken, result = seconds(run)
            best[name] = min(taken, best.get(name, taken))
            features = result if result.ndim == 4 else result.transpose(1, 2).unflatten(2, exact.grid)
            reference = features if reference is None else reference
            errors[name] = relative_error(features, reference)
    if not BFLOAT16_IS_NATIVE:
        best[ROUNDED], errors[ROUNDED] = emulated(case)
    return best, errors


def emulated(case: Case) -> tuple[float, float]:
    """Seconds of emulated bfloat16, from a share of the blocks, and their relative error."""
    picture = image(case.side)
    encoder = ours(case.share, case.side, torch.bfloat16)
    taken, result = seconds(lambda: encoder(picture))
    with torch.inference_mode():
        return taken * case.size.depth / case.share.depth, relative_error(result, ours(case.share, case.side)(picture))


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).abs().max() / expected.abs().max())


def peak_memory(which: str, case: Case) -> float:
    """MiB that one image needs above the loaded weights."""
    run: Callable[[], Tensor]
    picture = image(case.side)
    if which == "published":
        network = published(case.size, case.side)
        run = lambda: network(picture)  # noqa: E731
    else:
        encoder = ours(case.size, case.side)
        run = lambda: encoder(picture)  # noqa: E731
    with torch.inference_mode():
        torch.rand(64, 64) @ torch.rand(64, 64)  # loads the matrix library
        onednn_is_exact()
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
        before = resident("VmRSS")
        run()
    return (resident("VmHWM") - before) / 1024


def resident(key: str) -> int:
    """KiB of this process by its name in ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 blocks instead of 12")
    parser.add_argument("--smoke", action="store_true", help="a tiny network, in seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    arguments = parse(given)
    torch.set_num_threads(arguments.threads)
    case = SMOKE if arguments.smoke else QUICK if arguments.quick else FULL
    print(f"SAM, {case.size.depth} blocks of {case.size.width}, {case.side} px, {arguments.threads} thread(s)")
    print(f"float32 products of ours in oneDNN, probed exact: {'yes' if onednn_is_exact() else 'no'}")
    if not BFLOAT16_IS_NATIVE:
        print(
            "bfloat16: this processor has no products for it and PyTorch emulates them: "
            f"one run of {case.share.depth} block(s)"
        )
    best, errors = compare(case, 1 if arguments.smoke else arguments.repeats)
    how = {"threads": arguments.threads, "forked": arguments.smoke}
    memory = {which: apart(peak_memory, which, case, **how) for which in ("published", "ours")}
    base = best[THEIRS]
    print(f"\n{'':26}{'seconds':>9}{'speed-up':>10}{'error':>10}{'peak MiB':>10}")
    for name, taken in best.items():
        peak = memory.get({THEIRS: "published", OURS: "ours"}.get(name, ""))
        shown = f"{peak:10.0f}" if peak is not None else ""
        print(f"{name:26}{taken:9.2f}{base / taken:10.2f}{errors[name]:10.1e}{shown}")
    result = {
        "speedup_fp32": round(base / best[OURS], 3),
        "speedup_bf16": round(base / best[ROUNDED], 3),
        "speedup_auto": round(base / best[f"ours {resolved('auto', 'cpu')}"], 3),
        "memory_ratio": round(memory["ours"] / memory["published"], 4),
        "max_rel_error": errors[OURS],
        "bfloat16": "native" if BFLOAT16_IS_NATIVE else "emulated",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
