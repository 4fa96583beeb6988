"""The paper preset at full size with random weights: parameters, one stage-1 step, one stage-2 step, one caption.

.venv/bin/python benchmarks/paper_size.py            everything (12 GiB; a quarter of an hour on two cores)
.venv/bin/python benchmarks/paper_size.py --quick    count parameters only (no memory)

EVA ViT-g/14, SAM ViT-B, two BERT-base Q-Formers of 32 queries, OPT-2.7b; frozen parts in bfloat16, trained parts and
AdamW's state in float32. Arithmetic as `amp_dtype: auto` has it in training: bfloat16 where the processor has units for
it, else float32 products of the bfloat16 weights. The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bundle")]

from no_tokenizer import NoTokenizer  # noqa: E402
from transformers import OPTConfig, OPTForCausalLM  # noqa: E402

from scripts.encoders.eva import EvaEncoder  # noqa: E402
from scripts.encoders.sam import SamEncoder  # noqa: E402
from scripts.generation import GenerationOptions  # noqa: E402
from scripts.kernels.precision import autocast, resolved  # noqa: E402
from scripts.networks.branch import Branch  # noqa: E402
from scripts.networks.caption_network import CaptionNetwork  # noqa: E402
from scripts.networks.language_model import LanguageModel  # noqa: E402
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork  # noqa: E402
from scripts.networks.qformer import QFormer  # noqa: E402
from scripts.training import adamw, prepare_network  # noqa: E402

LIMIT_GIB = 22
VOCABULARY, DECODER = 30523, 30522
# Millions of parameters of the published models, to one decimal (docs/method.md).
PUBLISHED = {
    "EVA ViT-g/14": 986.0,
    "SAM ViT-B": 89.7,
    "OPT-2.7b": 2651.6,
    "general Q-Former, stage 2": 105.1,
    "general Q-Former, stage 1": 161.8,
    "detail Q-Former, stage 2": 129.9,
    "detail Q-Former, stage 1": 186.6,
}


def opt_config() -> OPTConfig:
    """OPT-2.7b's published dimensions."""
    return OPTConfig(
        vocab_size=50272,
        hidden_size=2560,
        ffn_dim=10240,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=2048,
        word_embed_proj_dim=2560,
        dropout=0.0,
    )


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def encoders() -> dict[str, nn.Module]:
    """Both frozen encoders in bfloat16, SAM's channels as tokens (the official layout)."""
    with default_dtype(torch.bfloat16):
        return {"general": EvaEncoder(), "detail": SamEncoder(layout="channel")}


def branches(frozen: dict[str, nn.Module], *, text: bool) -> dict[str, Branch]:
    return {
        name: Branch(
            encoder=encoder,
            qformer=QFormer(encoder_width=encoder.width, text=text, vocabulary=VOCABULARY),
            normalize_tokens=name == "general",
        )
        for name, encoder in frozen.items()
    }


def pretraining_network(frozen: dict[str, nn.Module]) -> PretrainingNetwork:
    made = branches(frozen, text=True)
    return PretrainingNetwork(
        branches={name: PretrainingBranch(branch=made[name], decoder_token_id=DECODER) for name in made}
    )


def caption_network(frozen: dict[str, nn.Module]) -> CaptionNetwork:
    with default_dtype(torch.bfloat16):
        model = OPTForCausalLM(opt_config())
    language_model = LanguageModel(model=model, tokenizer=NoTokenizer(prompt=[2], eos=50118), dtype="bfloat16")
    return CaptionNetwork(branches=branches(frozen, text=False), language_model=language_model, prompt="</s>")


def millions(module: nn.Module, *, trained: bool = False) -> float:
    counted = (p for p in module.parameters() if p.requires_grad or not trained)
    return sum(parameter.numel() for parameter in counted) / 1e6


def without_embeddings(qformer: QFormer) -> float:
    """The published counts name the text embeddings apart (23.8 M)."""
    embeddings = [qformer.word_embeddings, qformer.position_embeddings]
    return millions(qformer) - sum(millions(module) for module in embeddings if module is not None)


def count() -> dict[str, float]:
    """Parameters by part and in total, on the meta device."""
    with torch.device("meta"):
        frozen = encoders()
        stage1, stage2 = pretraining_network(frozen), caption_network(frozen)
    found = {
        "EVA ViT-g/14": millions(frozen["general"]),
        "SAM ViT-B": millions(frozen["detail"]),
        "OPT-2.7b": millions(stage2.language_model),
    }
    for name in ("general", "detail"):
        found[f"{name} Q-Former, stage 2"] = without_embeddings(stage2.branches[name].qformer)
        found[f"{name} Q-Former, stage 1"] = without_embeddings(stage1.branches[name].branch.qformer)
    print(f"{'part':<30}{'here M':>10}{'published M':>14}")
    for part, value in found.items():
        print(f"{part:<30}{value:>10.1f}{PUBLISHED[part]:>14.1f}")
        if abs(value - PUBLISHED[part]) > 0.1:
            raise SystemExit(f"{part} has {value:.1f} M parameters, published are {PUBLISHED[part]:.1f} M")
    totals = {
        "stage1_total_m": millions(stage1),
        "stage1_trained_m": millions(stage1, trained=True),
        "stage2_total_m": millions(stage2),
        "stage2_trained_m": millions(stage2, trained=True),
    }
    for name, value in totals.items():
        print(f"{name:<30}{value:>10.1f}")
    return totals


def _memory(field: str) -> float:
    """GiB of this process from the kernel: ``VmRSS`` now, ``VmHWM`` at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**20


def measure(name: str, work: Callable[[], object]) -> dict[str, float]:
    """Seconds of ``work`` and the peak of this process's memory during it."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    start = time.perf_counter()
    work()
    seconds, peak = time.perf_counter() - start, _memory("VmHWM")
    print(f"{name:<16}{seconds:>9.1f} s{peak:>9.1f} GiB at its peak", flush=True)
    if peak > LIMIT_GIB:
        raise SystemExit(f"{name} took {peak:.1f} GiB, the limit is {LIMIT_GIB} GiB")
    return {f"{name}_seconds": round(seconds, 1), f"{name}_gib": round(peak, 2)}


def batch(size: int, vocabulary: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, vocabulary, (size, 24), generator=generator)
    return {
        "image": torch.rand(size, 3, 1024, 1024, generator=generator),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
    }


def step(network: nn.Module, inputs: dict[str, Tensor]) -> Callable[[], None]:
    """One training step: forward, backward, AdamW."""
    optimizer = adamw(prepare_network(network, device="cpu"), learning_rate=1e-4)

    def work() -> None:
        with autocast("cpu", "auto"):
            loss = network.train()(**inputs)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        assert torch.isfinite(loss), "the loss is not finite"

    return work


def caption(network: CaptionNetwork, image: Tensor, beams: int) -> Callable[[], None]:
    options = GenerationOptions(
        num_beams=beams, min_new_tokens=10, max_new_tokens=50, repetition_penalty=9.0, length_penalty=1.2
    )

    def work() -> None:
        with torch.no_grad(), autocast("cpu", "auto"):
            tokens = network.eval().generate(network.encode(image), options=options).token_ids
        assert tokens.shape == (1, 50)

    return work


def run(batch_size: int, beams: int) -> dict[str, float]:
    torch.manual_seed(0)
    print(f"products in {resolved('auto', 'cpu')}, {torch.get_num_threads()} thread(s)", flush=True)
    frozen = encoders()
    network: nn.Module = pretraining_network(frozen)
    results = measure("stage1", step(network, batch(batch_size, VOCABULARY)))
    del network
    gc.collect()
    network = caption_network(frozen)
    results |= measure("stage2", step(network, batch(batch_size, 50000)))
    results |= measure("caption", caption(network, batch(1, 50000)["image"], beams))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="count parameters only")
    parser.add_argument("--batch-size", type=int, default=2, help="pairs a step (2: the fewest with a wrong pair)")
    parser.add_argument("--beams", type=int, default=15)
    given = parser.parse_args()
    results = count()
    if not given.quick:
        results |= run(given.batch_size, given.beams)
    print(json.dumps({name: round(value, 2) for name, value in results.items()}))


if __name__ == "__main__":
    main()
