"""GradCache gives the gradient of the whole batch, dropout included."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scripts.training.grad_cache import backward_in_chunks


class Towers(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 4))
        self.text = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def embed(self, chunk: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return F.normalize(self.image(chunk[0]), dim=-1), F.normalize(self.text(chunk[1]), dim=-1)

    def contrast(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        logits = images @ texts.T / self.temperature.detach()
        return F.cross_entropy(logits, torch.arange(len(logits)))


def local(chunk: tuple[torch.Tensor, torch.Tensor], embeddings: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return (embeddings[0] - embeddings[1]).square().mean()


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [5, 5, 2]])
@pytest.mark.parametrize("with_local", [False, True])
def test_gradient_is_that_of_the_whole_batch(sizes: list[int], with_local: bool) -> None:
    torch.manual_seed(3)
    towers = Towers(dropout=0.0).double()
    images, texts = torch.randn(12, 5).double(), torch.randn(12, 3).double()
    embeddings = towers.embed((images, texts))
    expected = towers.contrast(*embeddings)
    if with_local:
        expected = expected + local((images, texts), embeddings)
    expected.backward()
    reference = [p.grad.clone() for p in towers.parameters() if p.grad is not None]
    towers.zero_grad()
    chunks = list(zip(images.split(sizes), texts.split(sizes), strict=True))
    loss = backward_in_chunks(
        chunks, embed=towers.embed, contrast=towers.contrast, local_loss=local if with_local else None
    )
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    for gradient, other in zip([p.grad for p in towers.parameters() if p.grad is not None], reference, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


def test_both_passes_see_the_same_dropout() -> None:
    """The gradient of what the first pass computed, checked by the derivative along a direction."""
    towers = Towers(dropout=0.5).double()
    chunks = [(torch.randn(6, 5).double(), torch.randn(6, 3).double()) for _ in range(2)]
    weight = towers.image[0].weight
    direction = torch.randn_like(weight)

    def loss_at(step: float) -> float:
        with torch.no_grad():
            weight.add_(direction, alpha=step)
        torch.manual_seed(11)
        value = backward_in_chunks(chunks, embed=towers.embed, contrast=towers.contrast).item()
        with torch.no_grad():
            weight.sub_(direction, alpha=step)
        return value

    slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    towers.zero_grad()
    loss_at(0.0)
    assert (weight.grad * direction).sum().item() == pytest.approx(slope, rel=1e-6)
