"""A whole caption of one image: ours naive, ours tuned, transformers' BLIP-2 of the same sizes, and the starter.

    .venv/bin/python benchmarks/caption.py [--quick | --smoke] [--threads N] [--repeats N] [--datalist FILE]

Sizes: CLIP ViT-L/14 at 224 px, SAM ViT-B at 1,024 px, two Q-Formers of BERT-base size with 32 queries, OPT-125m, beam
5, 30 new tokens; random weights. `--quick` keeps every part and takes a few layers of each, `--smoke` shows in seconds
that all of it runs. Each side runs in a process of its own, the best of the repeats: processor
seconds with one thread (the default), wall seconds with more.

* naive: `segment_anything`'s code, float32 with PyTorch's defaults, `transformers.generate`.
* tuned: CLIP and language model in int8, SAM and Q-Formers in `auto` precision (bfloat16 where the processor has units
  for it, else float32 products in oneDNN, `float32_precision: fast`), absorbed projections, our generator. Lossy; the
  first two rows of the starter's table say what float32 costs.
* BLIP-2: `Blip2ForConditionalGeneration` in float32: CLIP, one Q-Former, the language model, and no SAM.

Beside them the floor of the tuned side: floating-point operations of encoders, Q-Formers and prefill at the speed of a
large product in that precision, and the language model's bytes once a token at the speed of reading memory, both
measured here.

The last line is one JSON object: `tuned_over_naive` (naive seconds over tuned), `ours_over_blip2` (tuned seconds over
BLIP-2's), `starter_seconds` (median wall seconds of a warm starter caption of a 512 x 512 image, as configured),
`starter_before`, `starter_speedup`, `starter_cpu_speedup` and `starter_captions_equal` (the same as it was before, in
turns, see `starter_captions.py`), `starter_floor` (seconds that the machine's measured speed allows),
`starter_folder_images_a_minute`, `..._before`, `..._speedup` and `..._cpu_speedup` (100 images in batches), and
`ten_images_seconds` (wall seconds of a process that starts, captions ten images together and ends; null with `--quick`
and `--smoke`). Both are of all cores, with freed buffers kept, as the service and the bundle's runs have them, and of
processes that import what the captioner itself imports (`starter_captions.py`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "bundle")]

from no_tokenizer import NoTokenizer  # noqa: E402
from own_process import apart  # noqa: E402

from generation import BEAMS, TOKENS, by_transformers  # noqa: E402
from scripts.captioning import caption_batch  # noqa: E402
from scripts.encoders.clip import ClipEncoder  # noqa: E402
from scripts.encoders.sam import SamEncoder  # noqa: E402
from scripts.encoders.sam_vit import SAM_SIZES, SamSize  # noqa: E402
from scripts.generation import GenerationOptions  # noqa: E402
from scripts.kernels.int8 import in_precision  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402
from scripts.networks.branch import Branch  # noqa: E402
from scripts.networks.caption_network import CaptionNetwork  # noqa: E402
from scripts.networks.language_model import LanguageModel  # noqa: E402
from scripts.networks.qformer import QFormer  # noqa: E402
from scripts.provenance.timing import StepTimer  # noqa: E402

QUERIES = 32
TUNED = resolved("auto", "cpu")


class Sizes(NamedTuple):
    """Of all parts, the same on every side."""

    clip: dict[str, int]
    sam: SamSize
    sam_side: int
    qformer_layers: int
    opt: dict[str, int]
    product_side: int = 2048  # of the product that the floor's speed is of
    read_bytes: int = 1 << 28


CLIP_L14 = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "image_size": 224}
CLIP_L14 |= {"patch_size": 14, "num_hidden_layers": 24}
SAM = SAM_SIZES["base"]
FULL = Sizes(CLIP_L14, SAM, 1024, 12, {"num_hidden_layers": 12})
QUICK = Sizes({**CLIP_L14, "num_hidden_layers": 3}, SAM._replace(depth=3, global_blocks=(2,)), 1024, 2,
              {"num_hidden_layers": 3})  # fmt: skip
TINY_CLIP = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1}
TINY_OPT = {"hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 500}
SMOKE = Sizes({**CLIP_L14, **TINY_CLIP}, SamSize(48, 2, 3, (1,)), 256, 2, {**TINY_OPT, "word_embed_proj_dim": 64},
              product_side=128, read_bytes=1 << 20)  # fmt: skip


class PlainClip(ClipEncoder):
    """With PyTorch's default float32 products."""

    def forward(self, image: Tensor) -> Tensor:
        return self.encode(self.prepare(image))


class PublishedSam(SamEncoder):
    """With `segment_anything`'s network and PyTorch's default float32 products."""

    def __init__(self, **arguments: Any) -> None:
        import published_code

        super().__init__(**arguments)
        size = arguments["size"]
        self.network = published_code.segment_anything_encoder()(
            img_size=arguments["input_size"],
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            global_attn_indexes=size.global_blocks,
            use_rel_pos=True,
            window_size=14,
        ).eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.encode(self.prepare(image))


def opt(sizes: Sizes) -> nn.Module:
    """OPT, by default of OPT-125m's dimensions."""
    from transformers import OPTConfig, OPTForCausalLM

    return OPTForCausalLM(OPTConfig(**sizes.opt)).eval()


def network(sizes: Sizes, *, tuned: bool) -> CaptionNetwork:
    """The caption network of one side, in its precisions."""
    torch.manual_seed(0)
    clip = (ClipEncoder if tuned else PlainClip)(config=sizes.clip)
    sam = (SamEncoder if tuned else PublishedSam)(size=sizes.sam, input_size=sizes.sam_side)
    if tuned:
        clip, sam = in_precision(clip, "int8"), in_precision(sam, TUNED)
    branches = {}
    for name, encoder in (("general", clip), ("detail", sam)):
        qformer = QFormer(
            encoder_width=encoder.width, layers=sizes.qformer_layers, text=False, absorbed=tuned and name == "detail"
        )
        branches[name] = Branch(encoder=encoder, qformer=qformer)
    model = LanguageModel(model=opt(sizes), tokenizer=NoTokenizer(), dtype="int8" if tuned else "float32")
    options = GenerationOptions(num_beams=BEAMS, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    return CaptionNetwork(branches=branches, language_model=model, options=options).eval().requires_grad_(False)


def naive_caption(net: CaptionNetwork, image: Tensor, timer: StepTimer) -> None:
    with timer.watch(net), torch.no_grad():
        encoded = net.encode(image)
        with timer.step("generate"):
            by_transformers(net.language_model.model, net.prefix(encoded)[0])
    timer.split_generation()


def blip2(sizes: Sizes) -> nn.Module:
    """BLIP-2 of the same sizes; its queries start at zero, which would make them all alike."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )

    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**sizes.clip, initializer_range=0.02).to_dict(),
        qformer_config=Blip2QFormerConfig(
            num_hidden_layers=sizes.qformer_layers, encoder_hidden_size=sizes.clip["hidden_size"]
        ).to_dict(),
        text_config=OPTConfig(**sizes.opt).to_dict(),
        num_query_tokens=QUERIES,
    )
    model = Blip2ForConditionalGeneration(config).eval().requires_grad_(False)
    model.query_tokens.data.normal_(0, 0.02)
    return model


def blip2_caption(model: nn.Module, pixels: Tensor) -> None:
    """Encoder, Q-Former and text model, as its own ``generate`` calls them."""
    with torch.no_grad():
        seen = model.vision_model(pixel_values=pixels).last_hidden_state
        queries = model.query_tokens.expand(len(pixels), -1, -1)
        states = model.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
        by_transformers(model.language_model, model.language_projection(states))


def measured(run: Callable[[StepTimer], Any], repeats: int) -> tuple[float, dict[str, float]]:
    """Best seconds after one warm-up, and the steps of that run."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    StepTimer._now = lambda self: clock()  # steps on the same clock as the whole
    best, steps = float("inf"), {}
    for attempt in range(repeats + 1):
        timer = StepTimer()
        start = clock()
        run(timer)
        taken = clock() - start
        if attempt and taken < best:
            best, steps = taken, timer.rounded()
    return best, steps


def blip2_side(sizes: Sizes, repeats: int) -> dict[str, Any]:
    """Seconds of transformers' BLIP-2."""
    model, pixels = blip2(sizes), torch.randn(1, 3, 224, 224)
    best, steps = measured(lambda timer: blip2_caption(model, pixels), repeats)
    return {"seconds": best, "steps": steps}


def naive_side(sizes: Sizes, repeats: int) -> dict[str, Any]:
    """Seconds of our network as it would be written first, and its operations."""
    net, picture = network(sizes, tuned=False), image(sizes)
    best, steps = measured(lambda timer: naive_caption(net, picture, timer), repeats)
    return {"seconds": best, "steps": steps, "flops": operations(net, picture)}


def tuned_side(sizes: Sizes, repeats: int) -> dict[str, Any]:
    """Seconds of our network as its users have it, and what the floor is made of."""
    net, picture = network(sizes, tuned=True), image(sizes)
    torch.set_float32_matmul_precision("medium")  # what `float32_precision: fast` sets
    best, steps = measured(lambda timer: caption_batch(net, picture, dtype=TUNED, timer=timer), repeats)
    return {"seconds": best, "steps": steps, **floor(net, sizes)}


def image(sizes: Sizes) -> Tensor:
    return torch.rand(1, 3, sizes.sam_side, sizes.sam_side, generator=torch.Generator().manual_seed(1))


def operations(net: CaptionNetwork, image: Tensor) -> int:
    """Floating-point operations of encoders, Q-Formers and the pass over the prefix."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        prefix = net.prefix(net.encode(image))[0]
        net.language_model.model(inputs_embeds=prefix)
    return counter.get_total_flops()


def floor(net: CaptionNetwork, sizes: Sizes) -> dict[str, float]:
    """Speed of a large product and of reading, and the bytes of the language model's int8 layers."""
    left = torch.randn(sizes.product_side, sizes.product_side).to(getattr(torch, TUNED))
    block = torch.zeros(sizes.read_bytes // 8, dtype=torch.int64)
    product = min(_timed(lambda: left @ left) for _ in range(4))
    reading = min(_timed(block.sum) for _ in range(4))
    layers = [m for m in net.language_model.model.modules() if type(m).__name__ == "Int8Linear"]
    return {
        "flop_rate": 2 * sizes.product_side**3 / product,
        "read_rate": sizes.read_bytes / reading,
        "model_bytes": sum(layer.in_features * layer.out_features for layer in layers),
    }


def _timed(run: Callable[[], Any]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def starter(*more: str) -> dict[str, Any]:
    """Warm captions of the starter, from a process of its own."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / "starter_captions.py"), *more], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def starter_figures(options: argparse.Namespace, more: Sequence[str]) -> dict[str, float]:
    """Warm captions and a folder as configured and as before; says what an int8 language model changes."""
    count = 1 if options.smoke else 3 if options.quick else 20
    sizes = ["--images", str(count), "--folder", str(1 if options.smoke else 5 * count)]
    found = starter(*sizes, *more)
    many, least = found["folder"], found["floor"]
    print(
        f"starter, warm, median {found['seconds']:.2f} s, of processors {found['cpu_seconds']:.2f} s: {found['steps']}"
    )
    print(f"floor {least['seconds']:.2f} s: { {name: round(value, 3) for name, value in least.items()} }")
    print(
        f"before {found['before']:.2f} s: {found['speedup']:.2f}x by the clock, {found['cpu_speedup']:.2f}x of CPU "
        f"time, {found['equal']:.0%} of captions word for word the same"
    )
    print(
        f"a folder, {many['images_a_minute']:.0f} images a minute, before {many['before']:.0f}: {many['speedup']:.2f}x "
        f"by the clock, {many['cpu_speedup']:.2f}x of CPU time"
    )
    if not options.smoke:
        fast = starter(*sizes[:2], "--folder", "1", *more, "--fast")
        same = statistics.mean(a == b for a, b in zip(found["texts"], fast["texts"], strict=True))
        print(f"{TUNED} and int8 {fast['seconds']:.2f} s, {same:.0%} of captions word for word the same")
    warm = {name: found[name] for name in ("seconds", "before", "speedup", "cpu_speedup")}
    named = {"captions_equal": found["equal"], "floor": least["seconds"]} | {f"folder_{k}": v for k, v in many.items()}
    return {f"starter_{name}": value for name, value in (warm | named).items()}


def ten_images_seconds(more: Sequence[str]) -> float:
    """Start, caption ten images, end."""
    start = time.perf_counter()
    command = [sys.executable, str(FOLDER / "starter_captions.py"), "--images", "10", "--together", *more]
    subprocess.run(command, check=True)
    return round(time.perf_counter() - start, 2)


def table(sides: dict[str, dict[str, Any]]) -> None:
    for name, report in sides.items():
        whole = report["seconds"]
        shares = ", ".join(f"{step} {seconds / whole:.0%}" for step, seconds in report["steps"].items())
        print(f"{name:8}{whole:8.2f} s   {shares}")
    tuned = sides["tuned"]
    compute = sides["naive"]["flops"] / tuned["flop_rate"]
    reading = tuned["model_bytes"] * TOKENS / tuned["read_rate"]
    print(
        f"{'floor':8}{compute + reading:8.2f} s   {sides['naive']['flops'] / 1e12:.2f} TFLOP at "
        f"{tuned['flop_rate'] / 1e9:.0f} GFLOP/s {compute:.2f} s, {TOKENS} x {tuned['model_bytes'] / 1e6:.0f} MB at "
        f"{tuned['read_rate'] / 1e9:.1f} GB/s {reading:.2f} s: tuned is at "
        f"{(compute + reading) / tuned['seconds']:.0%} of it"
    )


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few layers of every part")
    parser.add_argument("--smoke", action="store_true", help="the least of everything, in seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--datalist", type=Path, help="its validation images for the starter's figure")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = parse(given)
    print(f"beam {BEAMS}, {TOKENS} tokens, {options.threads} thread(s), torch {torch.__version__}, tuned: {TUNED}")
    sizes, repeats = (SMOKE, 1) if options.smoke else (QUICK if options.quick else FULL, options.repeats)
    measure = partial(apart, threads=options.threads, forked=options.smoke)
    sides = {
        "naive": measure(naive_side, sizes, repeats),
        "tuned": measure(tuned_side, sizes, repeats),
        "blip2": measure(blip2_side, sizes, repeats),
    }
    table(sides)
    more = ["--datalist", str(options.datalist)] if options.datalist else []
    starter_found = starter_figures(options, more)
    result = {
        "tuned_over_naive": round(sides["naive"]["seconds"] / sides["tuned"]["seconds"], 3),
        "ours_over_blip2": round(sides["tuned"]["seconds"] / sides["blip2"]["seconds"], 3),
        **{name: round(value, 3) for name, value in starter_found.items()},
        "ten_images_seconds": None if options.quick or options.smoke else ten_images_seconds(more),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
