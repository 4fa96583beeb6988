"""The paper's sizes on a GPU: training steps, encoders and captions against what the card can do, in ten minutes.

    .venv/bin/python benchmarks/gpu.py [--smoke] [--minutes N] [--device cuda:0]

It runs on any CUDA device as it is; without one it says so and ends. `--smoke` takes tiny networks on whatever device
there is and shows in seconds that all of it runs: its figures mean nothing.

Random weights: EVA ViT-g/14 at 224 px, SAM ViT-B at 1,024 px, two Q-Formers of BERT-base, OPT-2.7b; bfloat16. Measured
first: operations of a large bfloat16 product and bytes of a copy a second, which are the card's limits for the rest.

* encoders: images a second of each, by the attention of PyTorch (flash, memory-efficient, plain products), in a CUDA
  graph, and compiled; `MFU` is operations over the limit.
* steps: stage 1 and stage 2, from images and from cached tokens: pairs a second, MFU, memory.
* captions: a second, by batch; `bandwidth` is the language model's bytes, once a token, over the limit.
* equality: a small network in float32 on the CPU and on the device: largest relative difference of encoder tokens, and
  whether captions are the same tokens.

A part that does not fit (memory, or `--minutes` are over) says so and counts as null. The last line is one JSON object
with `device` and a figure for each row; `{"skipped": sentence}` where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "bundle")]

import paper_size  # noqa: E402
from caption import SMOKE  # noqa: E402
from no_tokenizer import NoTokenizer  # noqa: E402

from scripts.encoders.clip import ClipEncoder  # noqa: E402
from scripts.encoders.sam import SamEncoder  # noqa: E402
from scripts.generation import GenerationOptions  # noqa: E402
from scripts.kernels.precision import autocast  # noqa: E402
from scripts.networks.branch import Branch  # noqa: E402
from scripts.networks.caption_network import CaptionNetwork  # noqa: E402
from scripts.networks.language_model import LanguageModel  # noqa: E402
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork  # noqa: E402
from scripts.networks.qformer import QFormer  # noqa: E402
from scripts.training import adamw  # noqa: E402

ATTENTIONS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "plain": SDPBackend.MATH,
}
VOCABULARY = 500  # of tiny networks


class Bench:
    """Where to run, how long, and what was found."""

    def __init__(self, device: str, *, smoke: bool, minutes: float) -> None:
        self.device, self.smoke = torch.device(device), smoke
        self.until = time.monotonic() + 60 * minutes
        self.found: dict[str, Any] = {}
        self.flops = self.bytes = 1.0

    def seconds(self, work: Callable[[], Any], repeats: int = 10) -> float:
        """Of one call, after two that warm up."""
        repeats = 1 if self.smoke else repeats
        for _ in range(1 if self.smoke else 2):
            work()
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def drawing(self) -> AbstractContextManager:
        """Weights are drawn where they are used: billions of them take minutes on a CPU."""
        return self.device if self.device.type == "cuda" else nullcontext()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def row(self, name: str, work: Callable[[], tuple[float, str]]) -> None:
        """Measure one row: a figure a second and words beside it; null where it cannot be had."""
        value: float | None = None
        if time.monotonic() > self.until:
            words = "not run: the minutes are over"
        else:
            try:
                value, words = work()
            except (RuntimeError, NotImplementedError) as error:  # no memory, an attention that this card has not
                words = f"not run: {str(error).strip().splitlines()[0][:80]}"
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        self.found[name] = None if value is None else round(value, 3)
        print(f"{name:44}{'-' if value is None else f'{value:10.2f}':>10}  {words}", flush=True)

    def mfu(self, operations: float, seconds: float) -> str:
        return f"MFU {operations / seconds / self.flops:.0%}"


class Parts(NamedTuple):
    """Builders of one size."""

    encoders: Callable[[], dict[str, nn.Module]]
    pretraining: Callable[[dict[str, nn.Module]], nn.Module]
    captioning: Callable[[dict[str, nn.Module]], CaptionNetwork]
    vocabularies: tuple[int, int]
    side: int
    batch: int


def tiny_encoders() -> dict[str, nn.Module]:
    return {"general": ClipEncoder(config=SMOKE.clip), "detail": SamEncoder(size=SMOKE.sam, input_size=SMOKE.sam_side)}


def tiny_branches(frozen: dict[str, nn.Module], *, text: bool) -> dict[str, Branch]:
    sizes = {"width": 48, "heads": 4, "layers": 2, "intermediate": 96, "queries": 4, "vocabulary": VOCABULARY}
    return {
        name: Branch(encoder=encoder, qformer=QFormer(encoder_width=encoder.width, text=text, **sizes))
        for name, encoder in frozen.items()
    }


def tiny_pretraining(frozen: dict[str, nn.Module]) -> nn.Module:
    branches = tiny_branches(frozen, text=True)
    made = {
        name: PretrainingBranch(branch=branch, decoder_token_id=VOCABULARY - 1) for name, branch in branches.items()
    }
    return PretrainingNetwork(branches=made)


def tiny_captioning(frozen: dict[str, nn.Module]) -> CaptionNetwork:
    from transformers import OPTConfig, OPTForCausalLM

    model = LanguageModel(model=OPTForCausalLM(OPTConfig(**SMOKE.opt)), tokenizer=NoTokenizer())
    return CaptionNetwork(branches=tiny_branches(frozen, text=False), language_model=model)


TINY = Parts(tiny_encoders, tiny_pretraining, tiny_captioning, (VOCABULARY - 1, VOCABULARY), SMOKE.sam_side, 2)
PAPER = Parts(paper_size.encoders, paper_size.pretraining_network, paper_size.caption_network, (30522, 50000), 1024, 8)


def limits(bench: Bench) -> None:
    """Operations and bytes a second of the device."""
    side, size = (256, 1 << 20) if bench.smoke else (8192, 1 << 31)
    left = torch.randn(side, side, device=bench.device, dtype=torch.bfloat16)
    block = torch.zeros(size, device=bench.device, dtype=torch.uint8)
    bench.flops = 2 * side**3 / bench.seconds(lambda: left @ left)
    bench.bytes = 2 * size / bench.seconds(lambda: block.clone())
    bench.row("limit, bfloat16 TFLOP/s", lambda: (bench.flops / 1e12, f"product of {side} x {side}"))
    bench.row("limit, GB/s", lambda: (bench.bytes / 1e9, "a copy, read and written"))


@torch.no_grad()
def encoder_rows(bench: Bench, parts: Parts, frozen: dict[str, nn.Module]) -> None:
    for name, encoder in frozen.items():
        image = torch.rand(parts.batch, 3, parts.side, parts.side, device=bench.device)
        with FlopCounterMode(display=False) as counter:
            encoder(image)
        operations = counter.get_total_flops()

        def rate(run: Callable[[], Any], operations: int = operations) -> tuple[float, str]:
            seconds = bench.seconds(run)
            return parts.batch / seconds, f"images/s, {bench.mfu(operations, seconds)}"

        def attending(kind: SDPBackend, encoder: nn.Module = encoder, image: Tensor = image) -> tuple[float, str]:
            with sdpa_kernel([kind]):
                return rate(lambda: encoder(image))

        bench.row(f"encoder {name}", lambda e=encoder, i=image: rate(lambda: e(i)))
        for kind, backend in ATTENTIONS.items():
            bench.row(f"encoder {name}, {kind} attention", lambda b=backend: attending(b))
        if bench.device.type == "cuda":
            bench.row(f"encoder {name}, CUDA graph", lambda e=encoder, i=image: rate(in_graph(e, i)))
            compiled = torch.compile(encoder)
            bench.row(f"encoder {name}, compiled", lambda c=compiled, i=image: rate(lambda: c(i)))


def in_graph(encoder: nn.Module, image: Tensor) -> Callable[[], None]:
    """The encoder's kernels as one graph, which is started at once."""
    aside = torch.cuda.Stream(image.device)
    aside.wait_stream(torch.cuda.current_stream(image.device))
    with torch.cuda.stream(aside):
        for _ in range(2):
            encoder(image)
    torch.cuda.current_stream(image.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        encoder(image)
    return graph.replay


def step_rows(bench: Bench, parts: Parts, frozen: dict[str, nn.Module]) -> None:
    """Training steps of both stages, from images and from cached tokens."""
    for stage, build, words in (
        ("stage 1", parts.pretraining, parts.vocabularies[0]),
        ("stage 2", parts.captioning, parts.vocabularies[1]),
    ):
        with bench.drawing():
            network = build(frozen).to(bench.device).train()
        optimizer = adamw(network, learning_rate=1e-6)
        image = torch.rand(parts.batch, 3, parts.side, parts.side, device=bench.device)
        ids = torch.randint(4, words, (parts.batch, 24), device=bench.device)
        text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad(), autocast(bench.device, "bfloat16"):
            cached = {f"{name}_tokens": encoder(image) for name, encoder in frozen.items()}
        for kind, inputs in (("images", {"image": image}), ("cached tokens", cached)):
            bench.row(
                f"{stage} from {kind}",
                lambda n=network, o=optimizer, given={**inputs, **text}: one_step(bench, n, o, given),
            )
        del network, optimizer


def one_step(bench: Bench, network: nn.Module, optimizer: torch.optim.Optimizer, given: dict) -> tuple[float, str]:
    def step() -> None:
        with autocast(bench.device, "bfloat16"):
            loss = network(**given)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:
        step()
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
    seconds = bench.seconds(step, repeats=5)
    peak = torch.cuda.max_memory_allocated(bench.device) / 2**30 if bench.device.type == "cuda" else 0.0
    words = f"pairs/s, {bench.mfu(counter.get_total_flops(), seconds)}, {peak:.1f} GiB at its peak"
    return len(given["input_ids"]) / seconds, words


@torch.no_grad()
def caption_rows(bench: Bench, parts: Parts, frozen: dict[str, nn.Module]) -> None:
    with bench.drawing():
        network = parts.captioning(frozen).to(bench.device).eval()
    tokens = 4 if bench.smoke else 30
    options = GenerationOptions(num_beams=5, max_new_tokens=tokens, min_new_tokens=tokens)
    size = sum(parameter.nbytes for parameter in network.language_model.parameters())
    for batch in (1, 2) if bench.smoke else (1, 8, 32):
        image = torch.rand(batch, 3, parts.side, parts.side, device=bench.device)

        def captions(image: Tensor = image, batch: int = batch) -> tuple[float, str]:
            with autocast(bench.device, "bfloat16"):
                encoded = network.encode(image)
                whole = bench.seconds(lambda: network.generate(network.encode(image), options=options), repeats=3)
                written = bench.seconds(lambda: network.generate(encoded, options=options), repeats=3)
            share = size * tokens / written / bench.bytes
            return batch / whole, f"captions/s, of 5 beams and {tokens} tokens; writing: bandwidth {share:.0%}"

        bench.row(f"captions, batch {batch}", captions)


@torch.no_grad()
def equality(bench: Bench) -> None:
    """A small network in float32, on both."""
    torch.manual_seed(0)
    network = tiny_captioning(tiny_encoders()).eval()
    image = torch.rand(2, 3, SMOKE.sam_side, SMOKE.sam_side)
    options = GenerationOptions(num_beams=3, max_new_tokens=8)
    sides = []
    exact = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for device in (torch.device("cpu"), bench.device):
        encoded = network.to(device).encode(image.to(device))
        made = network.generate(encoded, options=options).token_ids.cpu()
        sides.append(({name: tokens.cpu() for name, (tokens, _) in encoded.items()}, made))
    torch.backends.cuda.matmul.allow_tf32 = exact
    (theirs, their_ids), (ours, our_ids) = sides
    worst = max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in ours)
    bench.row("equality, captions the same as on the CPU", lambda: (float(torch.equal(their_ids, our_ids)), "1 is yes"))
    bench.found["equality, relative difference of tokens"] = worst
    print(f"{'equality, relative difference of tokens':44}{worst:10.1e}")


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny networks, on the CPU if need be")
    parser.add_argument("--minutes", type=float, default=9.0, help="after these no further row is begun")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(given)
    if not torch.cuda.is_available() and not options.smoke:
        skipped = "this machine has no CUDA device: run benchmarks/gpu.py on one that has"
        print(f"{skipped}\n{json.dumps({'skipped': skipped})}")
        return
    device = options.device if torch.cuda.is_available() else "cpu"
    bench = Bench(device, smoke=options.smoke, minutes=options.minutes)
    name = torch.cuda.get_device_name(device) if bench.device.type == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}, {'tiny networks' if options.smoke else 'paper sizes'}")
    parts = TINY if options.smoke else PAPER
    torch.manual_seed(0)
    limits(bench)
    with bench.drawing():
        frozen = {key: encoder.to(bench.device) for key, encoder in parts.encoders().items()}
    encoder_rows(bench, parts, frozen)
    caption_rows(bench, parts, frozen)
    step_rows(bench, parts, frozen)
    equality(bench)
    print(json.dumps({"device": name, **bench.found}))


if __name__ == "__main__":
    main()
