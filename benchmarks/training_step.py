"""One training step, the published way and ours, side by side: seconds per pair, and what a pair keeps for backward.

    .venv/bin/python benchmarks/training_step.py [--quick | --smoke] [--threads N] [--repeats N] [--batch N]
        [--amp PRECISION]

Random weights at true sizes: CLIP ViT-L/14 at 224, SAM ViT-B at 1,024 (4,096 tokens of 256), two BERT-base Q-Formers
with 32 queries, OPT-125m, texts of 32 tokens, dropout 0.1 in the Q-Formers.

* published: both encoders in every step (`segment_anything` 1.0 and `transformers`), four passes in stage 1, attention
  with its scores written out, default AdamW (`official_way.py`), float32 and memory as PyTorch has them by default;
* the same with freed buffers kept for the next step, as in every run of ours (`kernels.allocator`): what the cache
  alone brings is measured there, so that nothing but the cache differs;
* cache only: the published code, buffers kept, encoder tokens given;
* ours in float32, with our encoders in every step and from the cache: what `feature_cache_dir` alone brings a user;
* ours: tokens read from feature-cache shards (float16, checksums verified), packed passes, the absorbed form on the SAM
  branch, autocast to bfloat16 where the processor has units for it (`--amp auto`, as `amp_dtype: auto` in training;
  elsewhere all stays in float32), the frozen language model in bfloat16 there, as in `paper.json`, fused AdamW.

A step is forward, backward and AdamW over 8 pairs, as on each GPU in the official stage 1 and on all of them together
in stage 2. Stage 1's branches are independent networks, so they are timed one after the other and added up: that keeps
the memory under 16 GiB, of which the published detail branch keeps 10 for backward. Each part runs in a process of its
own: what one leaves in memory neither helps nor hinders the next. `--batch 4` halves it, but AdamW, whose time is that
of a step whatever the batch, then weighs more.

Best of the repeats; processor seconds with one thread (the default), wall seconds with more. `--quick` takes 2 of 12
Q-Former and language-model layers and 3 of 12 and 24 encoder blocks, `--smoke` tiny parts: they show that everything
runs, not the figures.

Last line, one JSON object: `stage1_speedup` and `stage2_speedup` (published over ours, per pair), the same
`..._buffers_kept` (both sides), `stage1_cache_only` and `stage2_cache_only` (published code with the encoders over
without, buffers kept), the same `..._cache_only_ours` (this code in float32), `activation_ratio` (bytes kept for
backward per pair of the SAM branch in stage 1, ours over published), `half_loss_error` (relative change of the stage-2
loss by float16 tokens; 0 is less than float32 can tell, 1e-7), and `amp`, what "ours" ran in: without bfloat16 units
the speed-ups are those of exact means alone. They depend on the processor: on how much faster it multiplies in bfloat16
than in float32 (2 to 5 times), and the cache alone gains the less, the faster its float32 products are, which are most
of an encoder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bundle")]
import official_way  # noqa: E402
import published_code  # noqa: E402
from cached_tokens import CachedTokens  # noqa: E402
from no_tokenizer import NoTokenizer  # noqa: E402
from own_process import apart  # noqa: E402
from transformers import OPTConfig, OPTForCausalLM  # noqa: E402

from scripts.encoders.clip import ClipEncoder  # noqa: E402
from scripts.encoders.sam_vit import SAM_SIZES, SamSize, SamViT  # noqa: E402
from scripts.kernels.precision import resolved, set_float32_precision  # noqa: E402
from scripts.networks.branch import Branch  # noqa: E402
from scripts.networks.caption_network import CaptionNetwork  # noqa: E402
from scripts.networks.language_model import LanguageModel  # noqa: E402
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork  # noqa: E402
from scripts.networks.qformer import QFormer  # noqa: E402
from scripts.training import AutocastInferer, adamw  # noqa: E402

LENGTH = 32
PARTS = {"stage1": ("stage 1 general", "stage 1 detail"), "stage2": ("stage 2",)}  # timed apart
CLIP_L14 = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "image_size": 224}
CLIP_L14 |= {"patch_size": 14, "num_hidden_layers": 24}
Loss = Callable[[], Tensor]


class Sizes(NamedTuple):
    """Of all parts, the same on every side; the last word of a Q-Former begins its captions."""

    clip: dict[str, int]
    sam: SamSize
    sam_side: int
    layers: int
    tokens: dict[str, tuple[int, int]]  # branch -> N, C
    bert_words: int = 30523
    opt: dict[str, int] = {}


TOKENS = {"general": (257, 1024), "detail": (4096, 256)}
SAM = SAM_SIZES["base"]
FULL = Sizes(CLIP_L14, SAM, 1024, 12, TOKENS)
QUICK = Sizes(
    {**CLIP_L14, "num_hidden_layers": 3}, SAM._replace(depth=3, global_blocks=(2,)), 1024, layers=2, tokens=TOKENS
)
TINY_OPT = {"hidden_size": 64, "ffn_dim": 128, "num_attention_heads": 4, "word_embed_proj_dim": 64, "vocab_size": 1500}
SMOKE = Sizes(
    clip={**CLIP_L14, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1},
    sam=SamSize(48, 2, 3, (1,)),
    sam_side=256,
    layers=1,
    tokens={"general": (257, 64), "detail": (256, 256)},
    bert_words=1500,
    opt=TINY_OPT,
)


class Given(nn.Module):
    """An encoder's place, when its tokens are given."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.token_count, self.width = tokens, width


def clock() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def best_seconds(step: Callable[[], Any], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        step()
        best = min(best, clock() - start)
    return best


def encoder_seconds(side: str, sizes: Sizes, repeats: int) -> dict[str, float]:
    """Seconds per image of both encoders of a side, in float32."""
    torch.manual_seed(0)
    clip = ClipEncoder(config=sizes.clip)
    if side == "published":
        encoders = {"general": clip.network, "detail": published_sam(sizes)}
    else:
        set_float32_precision("fast")
        sam = SamViT(sizes.sam, input_size=sizes.sam_side).eval()
        encoders = {"general": clip, "detail": sam}
    pixels = {"general": torch.rand(1, 3, 224, 224), "detail": torch.rand(1, 3, sizes.sam_side, sizes.sam_side)}
    with torch.no_grad():
        torch.rand(64, 64) @ torch.rand(64, 64)  # loads the matrix library
        return {name: best_seconds(partial(encoder, pixels[name]), repeats) for name, encoder in encoders.items()}


def published_sam(sizes: Sizes) -> nn.Module:
    return published_code.segment_anything_encoder()(
        img_size=sizes.sam_side,
        embed_dim=sizes.sam.width,
        depth=sizes.sam.depth,
        num_heads=sizes.sam.heads,
        global_attn_indexes=sizes.sam.global_blocks,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
    ).eval()


def branch_of(name: str, options: argparse.Namespace, *, text: bool) -> Branch:
    """As published, the SAM branch has no norm on its tokens. The plain side reads an absorbed layer's parameters."""
    count, width = options.sizes.tokens[name]
    qformer = QFormer(
        encoder_width=width,
        layers=options.sizes.layers,
        text=text,
        vocabulary=options.sizes.bert_words,
        absorbed=name == "detail",
    )
    return Branch(encoder=Given(count, width), qformer=qformer, normalize_tokens=name == "general")


def batch(size: int, words: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask ``[B, T]``, the last third of the second text padding."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1000, words, (size, LENGTH), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, LENGTH * 2 // 3 :] = 0
    return ids * mask, mask


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


class Timed(NamedTuple):
    """Of one side's step: seconds, and bytes kept for backward."""

    seconds: float
    kept: int


def stage1(name: str, side: str, options: argparse.Namespace) -> Timed:
    """One side's step over one branch."""
    torch.manual_seed(0)
    branch = branch_of(name, options, text=True)
    module = PretrainingBranch(branch=branch, decoder_token_id=options.sizes.bert_words - 1)
    network = PretrainingNetwork(branches={name: module}).train()
    cached = CachedTokens(options.batch, {name: options.sizes.tokens[name]})
    ids, mask = batch(options.batch, options.sizes.bert_words - 1)
    autocast = AutocastInferer(options.amp)

    def published() -> Tensor:
        return sum(official_way.stage1_losses(module, cached.given[name], ids, mask).values())

    def ours() -> Tensor:
        tokens = {f"{name}_tokens": cached.read()[name]}
        return autocast(None, network, input_ids=ids, attention_mask=mask, **tokens)["loss"]

    return one_side(published if side == "published" else ours, side, network, options.repeats)


def stage2(side: str, options: argparse.Namespace) -> Timed:
    """One side's step over both branches and the language model."""
    network, cached, ids, mask = stage2_parts(options)
    autocast = AutocastInferer(options.amp)

    def published() -> Tensor:
        return official_way.stage2_loss(network, cached.given, ids, mask)

    def ours() -> Tensor:
        tokens = {f"{name}_tokens": value for name, value in cached.read().items()}
        return autocast(None, network, input_ids=ids, attention_mask=mask, **tokens)["loss"]

    if side == "published":
        return one_side(published, side, network, options.repeats)
    network.language_model.to(getattr(torch, options.amp))
    return one_side(ours, side, network, options.repeats)


def stage2_parts(options: argparse.Namespace) -> tuple[CaptionNetwork, CachedTokens, Tensor, Tensor]:
    """The network, its tokens in a cache, and texts."""
    torch.manual_seed(0)
    sizes = options.sizes
    config = OPTConfig(num_hidden_layers=sizes.layers, **sizes.opt)  # its defaults are OPT-125m's dimensions
    model = LanguageModel(model=OPTForCausalLM(config), tokenizer=NoTokenizer())
    branches = {name: branch_of(name, options, text=False) for name in sizes.tokens}
    network = CaptionNetwork(branches=branches, language_model=model).train()
    return network, CachedTokens(options.batch, sizes.tokens), *batch(options.batch, config.vocab_size)


@torch.no_grad()
def half_loss_error(options: argparse.Namespace) -> float:
    """How much the stage-2 loss changes, relatively, when tokens come from the cache; no dropout, float32."""
    network, cached, ids, mask = stage2_parts(options)
    network.eval()
    losses = []
    for tokens in (cached.given, cached.read()):
        named = {f"{name}_tokens": value for name, value in tokens.items()}
        losses.append(float(network(input_ids=ids, attention_mask=mask, **named)["loss"]))
    return abs(losses[1] / losses[0] - 1)


def one_side(loss: Loss, side: str, network: nn.Module, repeats: int) -> Timed:
    """Time a side's step with an optimizer of its kind; the first step warms up and counts bytes."""
    before = set_float32_precision("exact" if side == "published" else "fast")
    optimizer = (default_adamw if side == "published" else adamw)(network)
    counter = KeptBytes(network)
    with counter:
        value = loss()
    finish(value, optimizer)
    del value
    seconds = best_seconds(lambda: finish(loss(), optimizer), repeats)
    set_float32_precision(before)
    return Timed(seconds, sum(counter.kept.values()))


def finish(value: Tensor, optimizer: torch.optim.Optimizer) -> None:
    value.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few layers")
    parser.add_argument("--smoke", action="store_true", help="tiny parts, in seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--amp", default="auto", choices=("auto", "bfloat16", "float32"), help="of our side")
    options = parser.parse_args(given)
    options.amp = resolved(options.amp, "cpu")
    options.sizes = SMOKE if options.smoke else QUICK if options.quick else FULL
    if options.quick or options.smoke:
        options.repeats, options.batch = 1, 2
    return options


class Side(NamedTuple):
    """One way to train: seconds per image of its encoders, and its steps by part."""

    encoders: float
    steps: dict[str, Timed]

    def seconds(self, stage: str, size: int) -> float:
        """Seconds per pair, tokens given."""
        return sum(self.steps[name].seconds for name in PARTS[stage]) / size

    def whole(self, stage: str, size: int) -> float:
        """Seconds per pair, with the encoders in every step."""
        return self.encoders + self.seconds(stage, size)


def published_side(options: argparse.Namespace, *, kept_memory: bool) -> Side:
    how = {"threads": options.threads, "kept_memory": kept_memory, "forked": options.smoke}
    said = "published" + (", buffers kept" if kept_memory else "")
    return Side(encoders_of("published", said, options, **how), steps_of("published", said, options, **how))


def own_sides(options: argparse.Namespace) -> tuple[Side, Side]:
    """Ours in its precision, tokens cached, and ours in float32."""
    how = {"threads": options.threads, "kept_memory": True, "forked": options.smoke}
    steps = steps_of("ours", "ours", options, **how)
    exact = steps
    if options.amp != "float32":
        exact = steps_of("ours", "ours in float32", argparse.Namespace(**{**vars(options), "amp": "float32"}), **how)
    return Side(0.0, steps), Side(encoders_of("ours", "ours in float32", options, **how), exact)


def encoders_of(side: str, said: str, options: argparse.Namespace, **how: Any) -> float:
    """Seconds per image of both encoders of one side."""
    seconds = apart(encoder_seconds, side, options.sizes, options.repeats, **how)
    print(f"{said}, encoders, s per image: " + ", ".join(f"{k} {v:.2f}" for k, v in seconds.items()), flush=True)
    return sum(seconds.values())


def steps_of(side: str, said: str, options: argparse.Namespace, **how: Any) -> dict[str, Timed]:
    """All parts of one side, said as they come."""
    general, detail = (partial(stage1, branch) for branch in options.sizes.tokens)
    steps = {"stage 1 general": general, "stage 1 detail": detail, "stage 2": stage2}
    timed = {}
    for name, step in steps.items():
        timed[name] = apart(step, side, options, **how)
        seconds, kept = timed[name]
        print(f"{said}, {name}, tokens given: {seconds / options.batch:.3f} s per pair, "
              f"{kept / options.batch / 2**20:.0f} MiB per pair kept for backward", flush=True)  # fmt: skip
    return timed


def main(given: Sequence[str] | None = None) -> None:
    options = parse(given)
    print(f"batch {options.batch}, {options.threads} thread(s), {options.sizes.layers} layers of Q-Former and LM, "
          f"ours in {options.amp}", flush=True)  # fmt: skip
    published, kept = (published_side(options, kept_memory=kept_memory) for kept_memory in (False, True))
    ours, exact = own_sides(options)
    error = apart(half_loss_error, options, threads=options.threads, kept_memory=True, forked=options.smoke)
    print(f"the stage-2 loss changes by {error:.1e} of itself with cached float16 tokens", flush=True)
    result = report(published, kept, ours, exact, options.batch)
    print(json.dumps({**result, "half_loss_error": error, "amp": options.amp}))


def report(published: Side, kept: Side, ours: Side, exact: Side, size: int) -> dict[str, float]:
    """Print the seconds per pair; return what the last line says of them."""
    result = {}
    for stage in PARTS:
        whole, whole_kept, whole_exact = (side.whole(stage, size) for side in (published, kept, exact))
        given, given_exact, own = (side.seconds(stage, size) for side in (kept, exact, ours))
        print(f"\n{stage}, s per pair: published {whole:.2f}, buffers kept {whole_kept:.2f}, cache only {given:.2f}")
        print(f"{'':8}ours in float32 {whole_exact:.2f}, cached {given_exact:.3f}, in its precision {own:.3f}")
        result[f"{stage}_speedup"] = round(whole / own, 2)
        result[f"{stage}_speedup_buffers_kept"] = round(whole_kept / own, 2)
        result[f"{stage}_cache_only"] = round(whole_kept / given, 2)
        result[f"{stage}_cache_only_ours"] = round(whole_exact / given_exact, 2)
    detail = "stage 1 detail"
    result["activation_ratio"] = round(ours.steps[detail].kept / published.steps[detail].kept, 3)
    return result


if __name__ == "__main__":
    main()
