"""Checkpoints of other code bases as the start of one branch: what all such layouts share.

A layout says, for every parameter of a branch, under which key the foreign file keeps it. Loading walks over *our*
parameters, so a key that is absent is noticed and named as the file would have named it; what the file holds beyond
is sorted into known (another part of that model), and unexpected.

A branch's parameters carry *part names* that both stages share: ``qformer.*``, ``token_norm.*``, ``projection.*``
(stage 2), ``contrast.*``, ``matching.*``, ``generation.*`` (stage 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scripts.errors import WeightsError
from scripts.weights.loading import LoadReport, finite, matches

Renames = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ForeignLayout:
    """Where a foreign checkpoint keeps the parameters of one branch.

    Attributes:
        name: for messages.
        renames: (pattern of a part name, replacement) pairs; the first that matches counts.
        never: patterns of part names that this layout does not hold; they keep their initial values.
        refused: patterns of part names that must not exist, because the source model computes without them.
        belongs: patterns of keys that are this branch's.
        optional: patterns of keys of this branch that a network may have no use for (text path, heads).
        known: patterns of keys of other parts of that model (frozen encoders, language model, the other branch).
    """

    name: str
    renames: Renames
    never: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    belongs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def key(self, part: str) -> str | None:
        """The foreign key of a part name; None where the layout has no place for it."""
        if matches(part, self.never):
            return None
        for pattern, replacement in self.renames:
            key, count = re.subn(pattern, replacement, part)
            if count:
                return key
        return None


def qformer_renames(*, layer: str, inner: str, norm: str, embeddings: str, queries: str) -> Renames:
    """Part names of a Q-Former to the names of BLIP-2's two published code bases, which differ in five places.

    Args:
        layer: prefix before a layer's number; inner: name of the module that holds query, key and value.
        norm: the norm after the embeddings; embeddings: prefix of word and position embeddings.
        queries: name of the learned queries.
    """
    number = r"^qformer\.layers\.(\d+)\."
    renames: list[tuple[str, str]] = [
        (r"^qformer\.query_tokens$", queries),
        (r"^qformer\.embedding_norm\.", f"{norm}."),
        (r"^qformer\.(word_embeddings|position_embeddings)\.", rf"{embeddings}.\1."),
    ]
    for ours, theirs in (("self_attention", "attention"), ("cross_attention", "crossattention")):
        renames += [
            (rf"{number}{ours}\.(query|key|value)\.", rf"{layer}\1.{theirs}.{inner}.\2."),
            (rf"{number}{ours}\.output\.", rf"{layer}\1.{theirs}.output.dense."),
            (rf"{number}{ours}\.norm\.", rf"{layer}\1.{theirs}.output.LayerNorm."),
        ]
    for ours, suffix in (("query_feed_forward", "_query"), ("text_feed_forward", "")):
        renames += [
            (rf"{number}{ours}\.expand\.", rf"{layer}\1.intermediate{suffix}.dense."),
            (rf"{number}{ours}\.contract\.", rf"{layer}\1.output{suffix}.dense."),
            (rf"{number}{ours}\.norm\.", rf"{layer}\1.output{suffix}.LayerNorm."),
        ]
    return tuple(renames)


def part_names(network: nn.Module, branch: str) -> dict[str, str]:
    """Part name to state-dict name of everything that a branch owns apart from its encoder.

    Args:
        network: a ``PretrainingNetwork`` or a ``CaptionNetwork``.
        branch: ``general`` or ``detail``.

    Raises:
        WeightsError: the network has no such branch.
    """
    prefixes = (
        (f"branches.{branch}.branch.", ""),
        (f"branches.{branch}.", ""),
        (f"projections.{branch}.", "projection."),
    )
    parts: dict[str, str] = {}
    for name in network.state_dict():
        for prefix, short in prefixes:
            if name.startswith(prefix):
                parts[short + name.removeprefix(prefix)] = name
                break
    if not parts:
        raise WeightsError(f"this network has no branch {branch!r} to start: leave {branch}_start empty")
    internal = ("encoder.*", "matching.draws", "token_positions")
    return {part: name for part, name in parts.items() if not matches(part, internal)}


@torch.no_grad()
def load_foreign(
    network: nn.Module, branch: str, state: Mapping[str, Tensor], layout: ForeignLayout, *, source: str
) -> LoadReport:
    """Copy a foreign checkpoint's values into one branch.

    Raises:
        WeightsError: a key is absent or of another shape, the file's Q-Former has parts that the branch has not, or
            the branch has parts that the source model computes without; the message names the first.
    """
    own = network.state_dict()
    report = LoadReport(source=f"{source} ({layout.name}, branch {branch})")
    used = set()
    for part, name in part_names(network, branch).items():
        if matches(part, layout.refused):
            raise WeightsError(f"{layout.name} computes without {part!r}, which this branch has: switch it off")
        key = layout.key(part)
        if key is None:
            report.random.append(name)
            continue
        if key not in state:
            raise WeightsError(f"{source} lacks {key!r}, which {layout.name} holds: it is another model's or damaged")
        if own[name].shape != state[key].shape:
            raise WeightsError(
                f"{source}: {key!r} has shape {tuple(state[key].shape)}, this network needs {tuple(own[name].shape)}"
            )
        own[name].copy_(finite(state[key], key, source))
        used.add(key)
        report.loaded.append(name)
        report.parameters += state[key].numel()
    _sort_rest((key for key in state if key not in used), layout, report, source)
    return report


def _sort_rest(keys: Iterable[str], layout: ForeignLayout, report: LoadReport, source: str) -> None:
    """What the file holds beyond: optional and known parts, unexpected keys, and parts that may not be dropped."""
    for key in keys:
        if matches(key, layout.optional):
            report.unused.append(key)
        elif matches(key, layout.belongs):
            raise WeightsError(
                f"{source} holds {key!r}, which this branch has no place for: check the Q-Former's sizes"
            )
        elif matches(key, layout.known):
            report.unused.append(key)
        else:
            report.unexpected.append(key)
