"""A whole caption of one image: ours naive, ours tuned, transformers' BLIP-2 of the same sizes, and the starter.

    .venv/bin/python benchmarks/caption.py [--quick] [--threads N] [--repeats N] [--datalist FILE]

Sizes: CLIP ViT-L/14 at 224 px, SAM ViT-B at 1,024 px, two Q-Formers of BERT-base size with 32 queries, OPT-125m, beam
5, 30 new tokens; random weights. `--quick` keeps every part and takes a few layers of each. Each side runs in a process
of its own, the best of the repeats: processor seconds with one thread (the default), wall seconds with more.

* naive: `segment_anything`'s code, float32 with PyTorch's defaults, `transformers.generate`.
* tuned: CLIP and language model in int8, SAM and Q-Formers in `auto` precision (bfloat16 where the processor has units
  for it, else float32 products in oneDNN, `float32_precision: fast`), absorbed projections, our generator. Lossy; the
  first two rows of the starter's table say what float32 costs.
* BLIP-2: `Blip2ForConditionalGeneration` in float32: CLIP, one Q-Former, the language model, and no SAM.

Beside them the floor of the tuned side: floating-point operations of encoders, Q-Formers and prefill at the speed of a
large product in that precision, and the language model's bytes once a token at the speed of reading memory, both
measured here.

The last line is one JSON object: `tuned_over_naive` (naive seconds over tuned), `ours_over_blip2` (tuned seconds over
BLIP-2's), `starter_seconds` (median wall seconds of a warm starter caption of a 512 x 512 image, as configured), and
`ten_images_seconds` (wall seconds of a process that starts, captions ten images together and ends; 0 with `--quick`).
Both are of all cores, with freed buffers kept, as the service and the bundle's runs have them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT / "bundle")]

from generation import BEAMS, TOKENS, by_transformers  # noqa: E402
from scripts.captioning import caption_batch  # noqa: E402
from scripts.encoders.clip import ClipEncoder  # noqa: E402
from scripts.encoders.sam import SamEncoder  # noqa: E402
from scripts.encoders.sam_vit import SAM_SIZES  # noqa: E402
from scripts.generation import GenerationOptions  # noqa: E402
from scripts.kernels.allocator import keep_memory  # noqa: E402
from scripts.kernels.int8 import in_precision  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402
from scripts.networks.branch import Branch  # noqa: E402
from scripts.networks.caption_network import CaptionNetwork  # noqa: E402
from scripts.networks.language_model import LanguageModel  # noqa: E402
from scripts.networks.qformer import QFormer  # noqa: E402
from scripts.provenance.timing import StepTimer  # noqa: E402

QUERIES = 32
TUNED = resolved("auto", "cpu")
PEAK_SIDE, READ_BYTES = 2048, 1 << 28


class Words:
    """Stands for a tokenizer: no text is needed to measure."""

    pad_token_id, eos_token_id = 1, 2

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": []}

    def batch_decode(self, rows: Tensor, **_: Any) -> list[str]:
        return [""] * len(rows)

    def decode(self, ids: list[int], **_: Any) -> str:
        return ""


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
            img_size=1024,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            global_attn_indexes=size.global_blocks,
            use_rel_pos=True,
            window_size=14,
        ).eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.encode(self.prepare(image))


def sizes(quick: bool) -> dict[str, Any]:
    """Layers of every part; widths are always the true ones."""
    sam = SAM_SIZES["base"]._replace(depth=3, global_blocks=(2,)) if quick else SAM_SIZES["base"]
    return {"clip": 3 if quick else 24, "sam": sam, "qformer": 2 if quick else 12, "opt": 3 if quick else 12}


def clip_config(layers: int) -> dict[str, int]:
    return {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    }


def opt(layers: int) -> nn.Module:
    from transformers import OPTConfig, OPTForCausalLM

    return OPTForCausalLM(OPTConfig(num_hidden_layers=layers)).eval()


def network(quick: bool, *, tuned: bool) -> CaptionNetwork:
    """The caption network of one side, in its precisions."""
    torch.manual_seed(0)
    layers = sizes(quick)
    clip = (ClipEncoder if tuned else PlainClip)(config=clip_config(layers["clip"]))
    sam = (SamEncoder if tuned else PublishedSam)(size=layers["sam"])
    if tuned:
        clip, sam = in_precision(clip, "int8"), in_precision(sam, TUNED)
    branches = {}
    for name, encoder in (("general", clip), ("detail", sam)):
        qformer = QFormer(
            encoder_width=encoder.width, layers=layers["qformer"], text=False, absorbed=tuned and name == "detail"
        )
        branches[name] = Branch(encoder=encoder, qformer=qformer)
    model = LanguageModel(model=opt(layers["opt"]), tokenizer=Words(), dtype="int8" if tuned else "float32")
    options = GenerationOptions(num_beams=BEAMS, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    return CaptionNetwork(branches=branches, language_model=model, options=options).eval().requires_grad_(False)


def naive_caption(net: CaptionNetwork, image: Tensor, timer: StepTimer) -> None:
    with timer.watch(net), torch.no_grad():
        encoded = net.encode(image)
        with timer.step("generate"):
            by_transformers(net.language_model.model, net.prefix(encoded)[0])
    timer.split_generation()


def blip2(quick: bool) -> nn.Module:
    """BLIP-2 of the same sizes; its queries start at zero, which would make them all alike."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )

    layers = sizes(quick)
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**clip_config(layers["clip"]), initializer_range=0.02).to_dict(),
        qformer_config=Blip2QFormerConfig(num_hidden_layers=layers["qformer"], encoder_hidden_size=1024).to_dict(),
        text_config=OPTConfig(num_hidden_layers=layers["opt"]).to_dict(),
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


def measured(run: Any, repeats: int) -> tuple[float, dict[str, float]]:
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


def side(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one side in this process."""
    image = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1))
    if arguments.side == "blip2":
        model, pixels = blip2(arguments.quick), torch.randn(1, 3, 224, 224)
        best, steps = measured(lambda timer: blip2_caption(model, pixels), arguments.repeats)
        return {"seconds": best, "steps": steps}
    net = network(arguments.quick, tuned=arguments.side == "tuned")
    if arguments.side == "tuned":
        torch.set_float32_matmul_precision("medium")  # what `float32_precision: fast` sets
        best, steps = measured(lambda timer: caption_batch(net, image, dtype=TUNED, timer=timer), arguments.repeats)
        return {"seconds": best, "steps": steps, **floor(net)}
    best, steps = measured(lambda timer: naive_caption(net, image, timer), arguments.repeats)
    return {"seconds": best, "steps": steps, "flops": operations(net, image)}


def operations(net: CaptionNetwork, image: Tensor) -> int:
    """Floating-point operations of encoders, Q-Formers and the pass over the prefix."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        prefix = net.prefix(net.encode(image))[0]
        net.language_model.model(inputs_embeds=prefix)
    return counter.get_total_flops()


def floor(net: CaptionNetwork) -> dict[str, float]:
    """Speed of a large product and of reading, and the bytes of the language model's int8 layers."""
    left = torch.randn(PEAK_SIDE, PEAK_SIDE).to(getattr(torch, TUNED))
    block = torch.zeros(READ_BYTES // 8, dtype=torch.int64)
    product = min(_timed(lambda: left @ left) for _ in range(4))
    reading = min(_timed(block.sum) for _ in range(4))
    layers = [m for m in net.language_model.model.modules() if type(m).__name__ == "Int8Linear"]
    return {
        "flop_rate": 2 * PEAK_SIDE**3 / product,
        "read_rate": READ_BYTES / reading,
        "model_bytes": sum(layer.in_features * layer.out_features for layer in layers),
    }


def _timed(run: Any) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def starter_images(datalist: Path | None, count: int) -> list[str]:
    """Paths of images: of a datalist's validation part, or the samples of pydicom."""
    if datalist is not None:
        items = json.loads(datalist.read_text(encoding="utf-8"))["validation"]
        return [str(datalist.parent / item["image"]) for item in items[:: max(1, len(items) // count)][:count]]
    from scripts.commands.samples import write_samples

    paths = write_samples(ROOT / "runs" / "samples")
    return [str(paths[number % len(paths)]) for number in range(count)]


def starter(arguments: argparse.Namespace) -> dict[str, Any]:
    """Warm captions of the starter in float32 as configured, and with `auto` encoders and int8 language model."""
    from scripts.predictor import CaptionPredictor

    paths = starter_images(arguments.datalist, 3 if arguments.quick else 20)
    report: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for name, values in (("float32", {}), ("fast", {"amp_dtype": "auto", "language_model_dtype": "int8"})):
        predictor = CaptionPredictor.from_bundle(ROOT / "bundle", **values)
        predictor.caption(paths[0])
        walls, texts[name], steps = [], [], []
        for path in paths:
            start = time.perf_counter()
            caption = predictor.caption(path)
            walls.append(time.perf_counter() - start)
            texts[name].append(caption.text)
            steps.append(caption.seconds)
        report[name] = statistics.median(walls)
        report[f"{name}_steps"] = {step: statistics.median(s[step] for s in steps) for step in steps[0]}
    report["same_captions"] = statistics.mean(a == b for a, b in zip(texts["float32"], texts["fast"], strict=True))
    return report


def ten_images(arguments: argparse.Namespace) -> None:
    """Start, caption ten images, end."""
    from scripts.predictor import CaptionPredictor

    predictor = CaptionPredictor.from_bundle(ROOT / "bundle")
    list(predictor.caption_all(starter_images(arguments.datalist, 10), batch_size=10))


def child(arguments: argparse.Namespace, name: str) -> tuple[dict[str, Any], float]:
    """The report of one side from a process of its own, and that process's wall seconds."""
    command = [sys.executable, __file__, "--side", name, "--threads", str(arguments.threads)]
    command += ["--repeats", str(arguments.repeats)] + (["--quick"] if arguments.quick else [])
    command += ["--datalist", str(arguments.datalist)] if arguments.datalist else []
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1]), time.perf_counter() - start


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few layers of every part")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--datalist", type=Path, help="its validation images for the starter's figure")
    parser.add_argument("--side", choices=("naive", "tuned", "blip2", "starter", "ten"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side in ("starter", "ten"):  # as its users have it
        keep_memory()
    else:
        torch.set_num_threads(arguments.threads)
    if arguments.side:
        made = {"starter": starter, "ten": ten_images}.get(arguments.side, side)(arguments)
        print(json.dumps(made))
        return
    print(f"beam {BEAMS}, {TOKENS} tokens, {arguments.threads} thread(s), torch {torch.__version__}, tuned: {TUNED}")
    sides = {name: child(arguments, name)[0] for name in ("naive", "tuned", "blip2")}
    table(sides)
    warm, _ = child(arguments, "starter")
    print(f"starter, warm, median: float32 {warm['float32']:.2f} s, {TUNED} and int8 {warm['fast']:.2f} s, ", end="")
    print(f"{warm['same_captions']:.0%} of captions word for word the same; steps {warm['float32_steps']}")
    ten = 0.0 if arguments.quick else child(arguments, "ten")[1]
    result = {
        "tuned_over_naive": round(sides["naive"]["seconds"] / sides["tuned"]["seconds"], 3),
        "ours_over_blip2": round(sides["tuned"]["seconds"] / sides["blip2"]["seconds"], 3),
        "starter_seconds": round(warm["float32"], 3),
        "ten_images_seconds": round(ten, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
