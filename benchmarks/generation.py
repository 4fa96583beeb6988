"""Captions a second: `scripts.generation.Generator` against `transformers.generate` on the same model and prefixes.

    .venv/bin/python benchmarks/generation.py [--quick | --smoke]

OPT of 125m and 350m sizes with random weights (wide enough that captions vary), 65 prefix positions, beam 5, 30 new
tokens, batches of 1 and 8, float32 and bfloat16. Both sides run in turn, each case several times; a case's speed-up is
the median of its paired ratios. Where the processor has no bfloat16 products PyTorch emulates them, about eight times
slower than float32: those cases run once, unwarmed, and the table says so. `--smoke` shows on a tiny model in seconds
that all of it runs.

The last line is one JSON object: `batch1_speedup` and `batch8_speedup` are the worst over sizes and types,
`tokens_equal` says whether every row of every float32 case has the same tokens on both sides, `bfloat16` is "native",
"emulated" or "not run".
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import OPTConfig, OPTForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scripts.generation import GenerationOptions, Generator  # noqa: E402
from scripts.kernels.packed_linear import type_can_be_packed  # noqa: E402

PREFIX, BEAMS, TOKENS = 65, 5, 30
END, PAD = 2, 1
# Of the random weights; with wider ones 350m, which normalises after each layer, repeats one token.
SPREAD = {"tiny": 0.03, "125m": 0.03, "350m": 0.01}
SIZES = {
    "tiny": {
        "hidden_size": 64,
        "ffn_dim": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 64,
        "vocab_size": 1000,
    },
    "125m": {"hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "350m": {
        "hidden_size": 1024,
        "ffn_dim": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "word_embed_proj_dim": 512,
        "do_layer_norm_before": False,
    },
}


@dataclass
class Case:
    """One comparison; seconds are medians, `speedup` is the median of paired ratios, `cpu_speedup` the same of
    processor seconds: on a machine that others use it is the steadier figure."""

    size: str
    dtype: str
    batch: int
    transformers_seconds: float = 0.0
    ours_seconds: float = 0.0
    speedup: float = 0.0
    cpu_speedup: float = 0.0
    rows_equal: int = 0
    distinct_tokens: float = 0.0


def random_model(size: str, dtype: torch.dtype) -> nn.Module:
    """An OPT with random weights. The head is not tied: a tied random head repeats its last token for ever."""
    torch.manual_seed(0)
    values = {"vocab_size": 50272, "max_position_embeddings": 2048, "tie_word_embeddings": False, **SIZES[size]}
    config = OPTConfig(**values)
    model = OPTForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, SPREAD[size])
        model.model.decoder.embed_tokens.weight.normal_(0, 1.0)
        model.lm_head.weight.normal_(0, 0.1)
    return model.to(dtype).requires_grad_(False)


def by_transformers(model: nn.Module, prefix: Tensor) -> Tensor:
    """`[B, T]` token ids."""
    return model.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.int64),
        num_beams=BEAMS,
        max_new_tokens=TOKENS,
        min_new_tokens=TOKENS,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=PAD,
    )


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(case: Case, model: nn.Module, repeats: int) -> Case:
    """Run both sides in turn, `repeats` times after one warm-up of each; once and without warm-up for 0."""
    width = model.get_input_embeddings().embedding_dim
    prefix = torch.randn(case.batch, PREFIX, width, generator=torch.Generator().manual_seed(case.batch))
    prefix = prefix.to(model.dtype)
    options = GenerationOptions(num_beams=BEAMS, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD)
    sides = (lambda: by_transformers(model, prefix), lambda: generator.generate(prefix, None, options).token_ids)
    tokens: list[Tensor] = []
    first = [timed(lambda side=side: tokens.append(side())) for side in sides]
    their_tokens, our_tokens = tokens
    pairs = [[timed(side) for side in sides] for _ in range(repeats)] or [first]
    case.transformers_seconds = statistics.median(theirs[0] for theirs, _ in pairs)
    case.ours_seconds = statistics.median(ours[0] for _, ours in pairs)
    case.speedup = statistics.median(theirs[0] / ours[0] for theirs, ours in pairs)
    case.cpu_speedup = statistics.median(theirs[1] / ours[1] for theirs, ours in pairs)
    case.rows_equal = int((their_tokens == our_tokens).all(dim=1).sum())
    case.distinct_tokens = sum(len(row.unique()) for row in their_tokens) / case.batch
    return case


def row(case: Case) -> str:
    names = f"{case.size:>6} {case.dtype:>9} {case.batch:>5}"
    times = f"{case.transformers_seconds:>11.2f} s {case.ours_seconds:>6.2f} s"
    ratios = f"{case.speedup:>7.2f}x {case.cpu_speedup:>9.2f}x"
    return f"{names} {times} {ratios} {case.rows_equal:>6} of {case.batch} {case.distinct_tokens:>7.1f}"


def worst(cases: list[Case], batch: int) -> float | None:
    """Least speed-up of all cases with this batch size."""
    return min((round(case.speedup, 2) for case in cases if case.batch == batch), default=None)


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="125m in float32 only, one repeat")
    parser.add_argument("--smoke", action="store_true", help="a tiny model in float32, in seconds")
    parser.add_argument("--repeats", type=int, default=3, help="paired runs a case, after one warm-up of each side")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["125m", "350m"])
    parser.add_argument("--types", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--batches", nargs="+", type=int, choices=[1, 8], default=[1, 8])
    options = parser.parse_args(given)
    if options.quick or options.smoke:
        options.sizes, options.types, options.repeats = ["tiny" if options.smoke else "125m"], ["float32"], 1
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = parse(given)
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, prefix {PREFIX}, beams {BEAMS}, tokens {TOKENS}"
    )
    emulated = not type_can_be_packed(torch.bfloat16)
    if "bfloat16" in options.types and emulated:
        print(
            "This processor has no bfloat16 products: PyTorch emulates them, each such case runs once, without warm-up."
        )
    print("  size      type batch  transformers     ours speed-up (of CPU s) rows equal distinct")
    cases = []
    for size in options.sizes:
        for dtype in options.types:
            model = random_model(size, getattr(torch, dtype))
            repeats = 0 if emulated and dtype == "bfloat16" else options.repeats
            for batch in options.batches:
                case = compare(Case(size, dtype, batch), model, repeats)
                cases.append(case)
                print(row(case), flush=True)
    exact = [case.rows_equal == case.batch for case in cases if case.dtype == "float32"]
    report = {
        **{f"batch{batch}_speedup": worst(cases, batch) for batch in (1, 8)},
        "tokens_equal": all(exact) if exact else None,
        "bfloat16": "not run" if "bfloat16" not in options.types else "emulated" if emulated else "native",
        "threads": torch.get_num_threads(),
        "cases": [asdict(case) for case in cases],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
