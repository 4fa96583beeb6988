"""Class maps of the reader, against its own logits and against autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from scripts.concepts.class_maps import _overlaps, class_maps, class_weights, finest_grid
from scripts.concepts.reader import ConceptReader, mean_token
from scripts.concepts.said import PHRASE, Said
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.encoders.pooled import PooledEncoders

FIELDS = {"plane": ["axial", "coronal", "sagittal"], "modality": ["ct"], "organ": ["chest", "head"]}
ASKED = [
    Said(PHRASE, 1), Said("plane", 2), Said("modality", 0), Said("organ", 0), Said("organ", 1), Said(PHRASE, 0)
]  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> ConceptReader:
    """Two encoders whose grids, 2 x 2 and 3 x 3, do not divide one another."""
    torch.manual_seed(0)
    encoders = PooledEncoders([EfficientNetEncoder(weights=None, input_size=size) for size in (64, 96)])
    vocabulary = ConceptVocabulary(["cyst", "mass"], shares=torch.full((2,), 0.1), fields=FIELDS, longest=1)
    made = ConceptReader(vocabulary, encoders)
    torch.nn.init.normal_(made.weight, std=0.05)
    torch.nn.init.normal_(made.bias)
    return made.eval()


@pytest.mark.parametrize("views", [1, 3])
def test_the_mean_of_a_map_is_the_logit_without_its_bias(reader: ConceptReader, views: int) -> None:
    """By linearity of the mean. Tolerance: float32 sums over 1280 channels in another order."""
    pixels = torch.rand(views, 3, 80, 80, generator=torch.Generator().manual_seed(1))
    pooled = mean_token(reader.encoder(pixels).transpose(0, 1))[0]  # views are tokens of one case
    maps = class_maps(reader, pixels, pooled, ASKED)
    assert maps.shape == (len(ASKED), views, 3, 3) and finest_grid(reader) == (3, 3)
    phrases, axes = reader(pooled[None, None])
    means = maps.mean((1, 2, 3))
    torch.testing.assert_close(means[[0, 5]], phrases[0, [1, 0]] - reader.bias[[1, 0]], atol=1e-4, rtol=1e-4)
    # an answer against the others, each by its probability among them; logits as the classifier gives them
    logits, bias = F.linear(pooled, reader.weight, reader.bias)[2:5], reader.bias[2:5]
    assert torch.allclose(logits.log_softmax(0), axes["plane"][0], atol=1e-4)
    among = logits[:2].softmax(0)
    expected = (logits - bias)[2] - among @ (logits - bias)[:2]
    assert float(means[1]) == pytest.approx(float(expected), abs=1e-4)
    assert float(means[3]) == pytest.approx(-float(means[4]), abs=1e-4)  # of two answers one's gain is the other's loss


def test_weights_are_the_gradient_of_log_odds(reader: ConceptReader) -> None:
    pooled = torch.randn(reader.encoder.width, generator=torch.Generator().manual_seed(2)).requires_grad_()
    concepts, fields = reader(pooled[None, None])
    log_odds = []
    for said in ASKED:
        if said.field == PHRASE:
            log_odds.append(concepts[0, said.number])
        elif len(FIELDS[said.field]) > 1:
            chance = fields[said.field][0, said.number].exp()
            log_odds.append(torch.log(chance / (1 - chance)))
        else:  # a field of one answer has no others: its logit
            log_odds.append(F.linear(pooled, reader.weight, reader.bias)[5])
    expected = torch.stack([torch.autograd.grad(one, pooled, retain_graph=True)[0] for one in log_odds])
    torch.testing.assert_close(class_weights(reader, pooled.detach(), ASKED), expected, atol=1e-4, rtol=1e-3)


def test_nothing_asked_is_no_map(reader: ConceptReader) -> None:
    assert class_maps(reader, torch.rand(1, 3, 96, 96), torch.zeros(reader.encoder.width), []).shape == (0, 1, 3, 3)


@pytest.mark.parametrize(("cells", "wanted"), [(7, 8), (8, 8), (2, 3), (3, 2)])
def test_overlaps_keep_sums_and_places(cells: int, wanted: int) -> None:
    """Against cells that are cut into ``wanted`` parts each, of which every wanted cell takes ``cells``."""
    values = torch.rand(cells, generator=torch.Generator().manual_seed(3))
    expected = values.repeat_interleave(wanted).view(wanted, cells).mean(1)
    torch.testing.assert_close(_overlaps(cells, wanted) @ values, expected, atol=1e-6, rtol=1e-6)
