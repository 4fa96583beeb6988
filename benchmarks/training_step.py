"""One training step, the published way and ours, side by side: seconds per pair, and what a pair keeps for backward.

    .venv/bin/python benchmarks/training_step.py [--quick] [--threads N] [--repeats N] [--batch N] [--amp PRECISION]

Random weights at true sizes: CLIP ViT-L/14 at 224, SAM ViT-B at 1,024 (4,096 tokens of 256), two BERT-base Q-Formers
with 32 queries, OPT-125m, texts of 32 tokens, dropout 0.1 in the Q-Formers.

* published: both encoders in every step (`segment_anything` 1.0 and `transformers`), four passes in stage 1, attention
  with its scores written out, float32 with PyTorch's defaults, default AdamW (`official_way.py`);
* cache only: the same code, encoder tokens given;
* ours: tokens read from feature-cache shards (float16, checksums verified), packed passes, the absorbed form on the
  SAM branch, autocast to bfloat16 where the processor has units for it (`--amp auto`, as `amp_dtype: auto` in training;
  elsewhere all stays in float32), the frozen language model in bfloat16 there, as in `paper.json`, fused AdamW.

A step is forward, backward and AdamW over 8 pairs, as on each GPU in the official stage 1 and on all of them together
in stage 2; malloc is told to keep its memory, for both sides. Stage 1's branches are independent networks, so they are
timed one after the other and added up: that keeps the memory under 16 GiB, of which the published detail branch keeps
10 for backward. `--batch 4` halves it, but AdamW, whose time is that of a step whatever the batch, then weighs more.
Best of the repeats; processor seconds with one thread (the default), wall seconds with more. `--quick` takes 2 of 12
Q-Former and language-model layers and 3 of 12 and 24 encoder blocks: it shows that everything runs, not the figures.

Last line, one JSON object: `stage1_speedup` and `stage2_speedup` (published over ours, per pair), `stage1_cache_only`
and `stage2_cache_only` (published over cache only), `activation_ratio` (bytes kept for backward per pair of the SAM
branch in stage 1, ours over published), `half_loss_error` (relative change of the stage-2 loss by float16 tokens), and
`amp`, what "ours" ran in: without bfloat16 units the speed-ups are those of exact means alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bundle")]
import official_way  # noqa: E402
import published_code  # noqa: E402
from transformers import OPTConfig, OPTForCausalLM  # noqa: E402

from scripts.branches import Branch  # noqa: E402
from scripts.data.cache_shards import ShardStore, pack  # noqa: E402
from scripts.encoders.clip import ClipEncoder  # noqa: E402
from scripts.language_model import LanguageModel  # noqa: E402
from scripts.networks import CaptionNetwork  # noqa: E402
from scripts.precision import resolved  # noqa: E402
from scripts.pretraining import PretrainingBranch, PretrainingNetwork  # noqa: E402
from scripts.qformer import QFormer  # noqa: E402
from scripts.training import AutocastInferer, adamw, set_float32_precision  # noqa: E402

BERT_WORDS, DECODER = 30523, 30522
LENGTH = 32
# Large buffers are kept between steps instead of going back to the system each time, as tools/starter.sh trains.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
TOKENS = {"general": (257, 1024), "detail": (4096, 256)}  # N, C
CLIP_L14 = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "image_size": 224}
Loss = Callable[[], Tensor]


class NoTokenizer:
    """Stands in for OPT's tokenizer: an empty prompt."""

    eos_token_id, pad_token_id = 2, 1

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": []}


class Given(nn.Module):
    """An encoder's place, when its tokens are given."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.token_count, self.width = TOKENS[name]


def clock() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def best_seconds(step: Callable[[], Any], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        step()
        best = min(best, clock() - start)
    return best


def encoder_seconds(quick: bool, repeats: int) -> dict[str, float]:
    """Seconds per image of both published encoders."""
    torch.manual_seed(0)
    clip = ClipEncoder(config={**CLIP_L14, "patch_size": 14, "num_hidden_layers": 3 if quick else 24})
    sam = published_code.segment_anything_encoder()(
        img_size=1024,
        embed_dim=768,
        depth=3 if quick else 12,
        num_heads=12,
        global_attn_indexes=(2,) if quick else (2, 5, 8, 11),
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
    ).eval()
    pixels = {"general": torch.rand(1, 3, 224, 224), "detail": torch.rand(1, 3, 1024, 1024)}
    with torch.no_grad():
        torch.rand(64, 64) @ torch.rand(64, 64)  # loads the matrix library
        return {
            "general": best_seconds(lambda: clip.network(pixels["general"]), repeats),
            "detail": best_seconds(lambda: sam(pixels["detail"]), repeats),
        }


def branch_of(name: str, options: argparse.Namespace, *, text: bool) -> Branch:
    """As published, the SAM branch has no norm on its tokens. The plain side reads an absorbed layer's parameters."""
    qformer = QFormer(
        encoder_width=TOKENS[name][1],
        layers=options.layers,
        text=text,
        vocabulary=BERT_WORDS,
        absorbed=name == "detail",
    )
    return Branch(encoder=Given(name), qformer=qformer, normalize_tokens=name == "general")


def batch(size: int, words: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask ``[B, T]``, the last third of the second text padding."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1000, words, (size, LENGTH), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, LENGTH * 2 // 3 :] = 0
    return ids * mask, mask


class CachedTokens:
    """Random encoder tokens of a batch, in a feature-cache shard; read back and verified as in training."""

    def __init__(self, folder: str, size: int, names: tuple[str, ...]) -> None:
        generator = torch.Generator().manual_seed(1)
        self.size = size
        self.given = {name: torch.randn(size, *TOKENS[name], generator=generator) for name in names}
        self.store = ShardStore(folder)
        rows = [{name: pack(self.given[name][row], "float16") for name in names} for row in range(size)]
        self.store.write([(str(row), named) for row, named in enumerate(rows)])

    def read(self) -> dict[str, Tensor]:
        """``{"general": [B, N, C], ...}``"""
        rows = [self.store.read(str(row)) for row in range(self.size)]
        return {name: torch.stack([row[name] for row in rows]) for name in self.given}


def default_adamw(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-6, weight_decay=0.05)


class KeptBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that a forward pass keeps for its backward pass: each storage once, parameters left out."""

    def __init__(self, network: nn.Module) -> None:
        self.owned = {value.untyped_storage().data_ptr() for value in network.state_dict().values()}
        self.kept: dict[int, int] = {}
        super().__init__(self._note, lambda tensor: tensor)

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.owned:
            self.kept[storage.data_ptr()] = storage.nbytes()
        return tensor


def stage1(name: str, options: argparse.Namespace, folder: str) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds of a step over one branch, and bytes kept for backward, of both sides."""
    torch.manual_seed(0)
    branch = branch_of(name, options, text=True)
    module = PretrainingBranch(branch=branch, decoder_token_id=DECODER)
    network = PretrainingNetwork(branches={name: module}).train()
    cached = CachedTokens(folder, options.batch, (name,))
    ids, mask = batch(options.batch, BERT_WORDS - 1)
    autocast = AutocastInferer(options.amp)

    def published() -> Tensor:
        return sum(official_way.stage1_losses(module, cached.given[name], ids, mask).values())

    def ours() -> Tensor:
        tokens = {f"{name}_tokens": cached.read()[name]}
        return autocast(None, network, input_ids=ids, attention_mask=mask, **tokens)["loss"]

    return both_sides(published, ours, network, options)


def stage2(options: argparse.Namespace, folder: str) -> tuple[dict[str, float], dict[str, int], float]:
    """As :func:`stage1`, over both branches and the language model; and :func:`half_loss_error`."""
    torch.manual_seed(0)
    config = OPTConfig(num_hidden_layers=options.layers)  # its defaults are OPT-125m's dimensions
    model = LanguageModel(model=OPTForCausalLM(config), tokenizer=NoTokenizer())
    branches = {name: branch_of(name, options, text=False) for name in TOKENS}
    network = CaptionNetwork(branches=branches, language_model=model).train()
    cached = CachedTokens(folder, options.batch, tuple(TOKENS))
    ids, mask = batch(options.batch, config.vocab_size)
    autocast = AutocastInferer(options.amp)

    def published() -> Tensor:
        return official_way.stage2_loss(network, cached.given, ids, mask)

    def ours() -> Tensor:
        tokens = {f"{name}_tokens": value for name, value in cached.read().items()}
        return autocast(None, network, input_ids=ids, attention_mask=mask, **tokens)["loss"]

    error = half_loss_error(network, cached, ids, mask)
    print(f"stage-2 loss changes by {error:.1e} of itself with cached float16 tokens", flush=True)
    seconds, kept = both_sides(
        published, ours, network, options, before_ours=lambda: model.to(getattr(torch, options.amp))
    )
    return seconds, kept, error


@torch.no_grad()
def half_loss_error(network: nn.Module, cached: CachedTokens, ids: Tensor, mask: Tensor) -> float:
    """How much the loss changes, relatively, when tokens come from the cache; no dropout, float32."""
    network.eval()
    losses = [
        float(
            network(input_ids=ids, attention_mask=mask, **{f"{name}_tokens": value for name, value in tokens.items()})[
                "loss"
            ]
        )
        for tokens in (cached.given, cached.read())
    ]
    network.train()
    return abs(losses[1] / losses[0] - 1)


def both_sides(
    published: Loss,
    ours: Loss,
    network: nn.Module,
    options: argparse.Namespace,
    before_ours: Callable[[], Any] = lambda: None,
) -> tuple[dict[str, float], dict[str, int]]:
    """Both sides on one network, one after the other, each with an optimizer of its kind."""
    sides = {"published": (published, default_adamw, "exact"), "ours": (ours, adamw, "fast")}
    seconds, kept = {}, {}
    for name, (loss, make, products) in sides.items():
        if name == "ours":
            before_ours()
        before = set_float32_precision(products)
        seconds[name], kept[name] = one_side(loss, make(network), network, options.repeats)
        set_float32_precision(before)
        gc.collect()
    return seconds, kept


def one_side(loss: Loss, optimizer: torch.optim.Optimizer, network: nn.Module, repeats: int) -> tuple[float, int]:
    """Seconds of a step, and bytes kept for backward; the first step warms up and counts."""
    counter = KeptBytes(network)
    with counter:
        value = loss()
    finish(value, optimizer)
    del value
    return best_seconds(lambda: finish(loss(), optimizer), repeats), sum(counter.kept.values())


def finish(value: Tensor, optimizer: torch.optim.Optimizer) -> None:
    value.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few layers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--amp", default="auto", choices=("auto", "bfloat16", "float32"), help="of our side")
    options = parser.parse_args()
    options.amp = resolved(options.amp, "cpu")
    options.layers = 2 if options.quick else 12
    if options.quick:
        options.repeats, options.batch = 1, 2
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    print(f"batch {options.batch}, {options.threads} thread(s), {options.layers} Q-Former and language-model layers, "
          f"ours in {options.amp}")  # fmt: skip
    encoders = encoder_seconds(options.quick, options.repeats)
    gc.collect()
    print("published encoders, s per image: " + ", ".join(f"{k} {v:.2f}" for k, v in encoders.items()), flush=True)
    runs = {}
    for name, job in {
        "stage 1 general": lambda folder: stage1("general", options, folder),
        "stage 1 detail": lambda folder: stage1("detail", options, folder),
        "stage 2": lambda folder: stage2(options, folder),
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            runs[name] = job(folder)
        gc.collect()
        seconds, kept, *_ = runs[name]
        per_pair = {side: value / options.batch for side, value in seconds.items()}
        print(f"{name}, tokens given, s per pair: published {per_pair['published']:.3f}, ours {per_pair['ours']:.3f}; "
              f"kept for backward, MiB per pair: {kept['published'] / options.batch / 2**20:.0f}, "
              f"{kept['ours'] / options.batch / 2**20:.0f}", flush=True)  # fmt: skip
    print(json.dumps({**report(encoders, runs, options.batch), "amp": options.amp}))


def report(encoders: dict[str, float], runs: dict[str, Any], size: int) -> dict[str, float]:
    """Print the table; return the last line."""
    images = sum(encoders.values())
    stages = {"stage1": ("stage 1 general", "stage 1 detail"), "stage2": ("stage 2",)}
    result = {}
    print(f"\n{'s per pair':10}{'published':>12}{'cache only':>12}{'ours':>12}{'cache gain':>12}{'gain':>8}")
    for stage, parts in stages.items():
        given = sum(runs[part][0]["published"] for part in parts) / size
        ours = sum(runs[part][0]["ours"] for part in parts) / size
        whole = images + given
        print(f"{stage:10}{whole:12.2f}{given:12.2f}{ours:12.3f}{whole / given:12.1f}{whole / ours:8.1f}")
        result[f"{stage}_speedup"] = round(whole / ours, 2)
        result[f"{stage}_cache_only"] = round(whole / given, 2)
    kept = runs["stage 1 detail"][1]
    result["half_loss_error"] = runs["stage 2"][2]
    result["activation_ratio"] = round(kept["ours"] / kept["published"], 3)
    return result


if __name__ == "__main__":
    if not KEEP_MEMORY.items() <= os.environ.items():  # malloc reads them when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})
    main()
