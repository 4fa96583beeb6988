"""Choice among finished captions by what each image's file states (`scripts.concepts.statement_check`).

Shape legend: B images, K finished captions of an image, R captions asked for, P prefix, D model width, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.concepts.stated import Stated
from scripts.concepts.statement_check import composed_caption, contradicts, disagreement
from scripts.generation import Generated
from scripts.networks.prompts import Prompt

if TYPE_CHECKING:
    from scripts.networks.caption_network import CaptionNetwork

LIKELY_ORGAN = 0.5  # probability from which a composed caption names the organ that the concept reader sees


def agreeing(
    made: Generated, texts: Sequence[str], known: Sequence[Stated], prompts: Sequence[Prompt], composer: Composer
) -> Generated:
    """The best captions of each image that agree with its file, R of them; composed ones where too few do.

    Where more rows an image are kept, the other captions come after these, as they are.
    An image whose file states nothing, or whose given words contradict it already, keeps its best captions.

    Args:
        made: K captions an image, best first; texts: of them.
        known: of each image; prompts: of each image.
        composer: makes captions of what files state, and says how many are wanted.
    """
    each, wanted, kept = len(texts) // len(known), composer.wanted, composer.rows
    picked: list[int] = []
    spoken_for = torch.zeros(len(known) * kept, dtype=torch.bool)
    for image, (stated, prompt) in enumerate(zip(known, prompts, strict=True)):
        rows = list(range(image * each, (image + 1) * each))
        if stated and not contradicts(prompt.given, stated):
            wrong = contradicts if prompt.given else disagreement  # words after given ones may leave the view to these
            agree = [row for row in rows if not wrong(texts[row], stated)][:wanted]
            spoken_for[image * kept + len(agree) : image * kept + wanted] = True
            rows = agree + rows
        best = rows[:wanted]
        others = [row for row in range(image * each, (image + 1) * each) if row not in best]
        picked += best + others[: kept - wanted]
    chosen = Generated(
        made.token_ids[picked], made.token_logprobs[picked], made.lengths[picked], made.sequence_scores[picked]
    )
    for row in spoken_for.nonzero().flatten().tolist():
        composer.put(chosen, row)
    chosen.composed = spoken_for
    return chosen


@dataclass
class Composer:
    """Captions of what files state, as a captioner would have generated them.

    Attributes:
        network: whose language model says how likely their words are, and whose concept reader names the organ.
        prefix: embeddings ``[B, P, D]`` and mask ``[B, P]``.
        encoded: encoder tokens and masks by name.
        known: of each image; prompts: of each image.
        wanted: captions an image (R).
        rows: captions an image that are kept, R or more.
    """

    network: CaptionNetwork
    prefix: tuple[Tensor, Tensor]
    encoded: Mapping[str, tuple[Tensor, Tensor | None]]
    known: Sequence[Stated]
    prompts: Sequence[Prompt]
    wanted: int
    rows: int

    def put(self, chosen: Generated, row: int) -> None:
        """Put the composed caption of row ``row`` ``[B * rows]`` in its place."""
        model, image = self.network.language_model, row // self.rows
        device = chosen.token_ids.device
        ids = torch.tensor([*self._ids(image), model.eos_token_id], device=device)
        embeddings, mask = self.prefix
        logprobs = model.caption_logprobs(embeddings[image : image + 1], mask[image : image + 1], ids)
        short = max(0, len(ids) - chosen.token_ids.shape[1])
        chosen.token_ids = F.pad(chosen.token_ids, (0, short), value=model.pad_token_id)
        chosen.token_logprobs = F.pad(chosen.token_logprobs, (0, short))
        chosen.token_ids[row], chosen.token_logprobs[row] = model.pad_token_id, 0.0
        chosen.token_ids[row, : len(ids)] = ids
        chosen.token_logprobs[row, : len(ids)] = logprobs
        chosen.lengths[row] = len(ids)
        chosen.sequence_scores[row] = logprobs.mean()

    def _ids(self, image: int) -> list[int]:
        text = composed_caption(self.known[image], self._organ(image))
        if self.prompts[image].given:  # a sentence of its own: after "No fracture, no" it would be denied
            text = ". " + text
        return self.network.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _organ(self, image: int) -> str | None:
        """The organ that the concept reader is sure enough of."""
        reader = self.network.concept_reader
        if reader is None or not reader.vocabulary.fields["organ"]:
            return None
        tokens, mask = self.encoded["reader"]
        _, fields = reader(tokens[image : image + 1], None if mask is None else mask[image : image + 1])
        best = int(fields["organ"][0].argmax())
        likely = float(fields["organ"][0, best].exp()) >= LIKELY_ORGAN
        return reader.vocabulary.fields["organ"][best] if likely else None
