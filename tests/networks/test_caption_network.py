"""The captioner against ``transformers.Blip2ForConditionalGeneration`` with the same weights, and its own promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from torch import Tensor, nn

import tiny_blip2 as tiny
from scripts.checkpoints.start import start_branch
from scripts.generation import GenerationOptions
from scripts.generation.decoders import base_model
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.losses import sameness
from scripts.networks.qformer import QFormer

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, CaptionNetwork]:
    """transformers' BLIP-2 and our captioner, one set of weights, prompt ``w7 w8``."""
    folder = tmp_path_factory.mktemp("blip2")
    theirs = tiny.captioner_of_transformers()
    theirs.save_pretrained(folder)
    ours = tiny.captioner(theirs, folder, prompt="w7 w8")
    start_branch(ours, "general", folder)
    return theirs, ours


def images(batch: int = 3) -> Tensor:
    """Crops of a CT slice that pydicom ships, ``[B, 3, 40, 40]`` in [0, 1]."""
    pixels = torch.from_numpy(pydicom.dcmread(Path(get_testdata_file("CT_small.dcm"))).pixel_array.astype("float32"))
    unit = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    crops = [unit[16 * step : 16 * step + 40, 80 - 16 * step : 120 - 16 * step] for step in range(batch)]
    return torch.stack(crops)[:, None].expand(-1, 3, -1, -1).contiguous()


def pixels(ours: CaptionNetwork, image: Tensor) -> Tensor:
    """What transformers' processor would hand over: our encoder's own resizing and normalisation."""
    return ours.branches["general"].encoder.prepare(image)


def placeholders(rows: list[list[int]]) -> Tensor:
    return torch.tensor([[tiny.IMAGE] * tiny.QUERIES + row for row in rows])


CAPTION = torch.tensor([[10, 11, 12, tiny.END], [20, 21, tiny.END, tiny.PAD], [30, 31, 32, tiny.END]])
REAL = (torch.tensor(tiny.PAD) != CAPTION).long()


def test_prefix_and_logits_equal_transformers(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    theirs, ours = pair
    image = images()
    ids = torch.cat([placeholders([[7, 8]] * 3), CAPTION], dim=1)
    mask = torch.cat([torch.ones(3, tiny.QUERIES + 2, dtype=torch.long), REAL], dim=1)
    with torch.no_grad():
        expected = theirs(pixel_values=pixels(ours, image), input_ids=ids, attention_mask=mask).logits
        prefix, prefix_mask = ours.prefix(ours.encode(image))
        embeddings = torch.cat([prefix, ours.language_model.embed(CAPTION)], dim=1)
        whole = torch.cat([prefix_mask, REAL], dim=1)
        actual = ours.language_model.model(inputs_embeds=embeddings, attention_mask=whole).logits
    torch.testing.assert_close(actual[mask.bool()], expected[mask.bool()], **TOLERANCE)
    assert expected.std() > 0.5  # logits that differ, so that equality means something


def test_loss_and_gradients_equal_transformers(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    theirs, ours = pair
    image = images()
    ids = torch.cat([placeholders([[7, 8]] * 3), CAPTION], dim=1)
    mask = torch.cat([torch.ones(3, tiny.QUERIES + 2, dtype=torch.long), REAL], dim=1)
    labels = torch.cat([torch.full((3, tiny.QUERIES + 2), -100), CAPTION.masked_fill(REAL == 0, -100)], dim=1)
    expected = theirs(pixel_values=pixels(ours, image), input_ids=ids, attention_mask=mask, labels=labels).loss
    actual = ours(image, input_ids=CAPTION, attention_mask=REAL)["loss"]
    torch.testing.assert_close(actual, expected, **TOLERANCE)
    mine = torch.autograd.grad(
        actual, [ours.branches["general"].qformer.query_tokens, ours.projections["general"].bias]
    )
    twin = torch.autograd.grad(expected, [theirs.query_tokens, theirs.language_projection.bias])
    torch.testing.assert_close(mine, twin, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("beams", [1, 5])
def test_captions_are_the_tokens_of_transformers(pair: tuple[nn.Module, CaptionNetwork], beams: int) -> None:
    theirs, ours = pair
    image = images(6)
    expected = theirs.generate(
        pixel_values=pixels(ours, image),
        input_ids=placeholders([[7, 8]] * 6),
        max_new_tokens=12,
        num_beams=beams,
        do_sample=False,
        suppress_tokens=ours.language_model.marks,
    )
    asked = placeholders([[7, 8]] * 6)
    if torch.equal(expected[:, : asked.shape[1]], asked):  # it repeats what was given
        expected = expected[:, asked.shape[1] :]
    options = GenerationOptions(num_beams=beams, max_new_tokens=12)
    actual = ours.generate(ours.encode(image), options=options).token_ids[:, : expected.shape[1]]
    assert torch.equal(actual, expected)
    assert len({tuple(row) for row in actual.tolist()}) > 1  # the image decides


def test_padding_has_no_influence_on_the_loss(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    _, ours = pair
    longer = torch.nn.functional.pad(CAPTION, (0, 3), value=17)
    mask = torch.nn.functional.pad(REAL, (0, 3))
    short = ours(images(), input_ids=CAPTION, attention_mask=REAL)["loss"]
    torch.testing.assert_close(ours(images(), input_ids=longer, attention_mask=mask)["loss"], short, **TOLERANCE)
    other = CAPTION.clone()
    other[0, 1] = 40
    assert (ours(images(), input_ids=other, attention_mask=REAL)["loss"] - short).abs() > 1e-3


def test_prompts_of_different_length_caption_as_alone(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    _, ours = pair
    options = GenerationOptions(max_new_tokens=8)
    prompts = ["w7", "", "w9 w10 w11"]
    encoded = ours.encode(images())
    together = ours.generate(encoded, prompts=ours.prompts_of(prompts, len(prompts)), options=options)
    for row, prompt in enumerate(prompts):
        alone = {name: (tokens[row : row + 1], None) for name, (tokens, _) in encoded.items()}
        single = ours.generate(alone, prompts=ours.prompts_of(prompt, 1), options=options)
        assert torch.equal(single.token_ids[0], together.token_ids[row]), prompt
        torch.testing.assert_close(single.token_logprobs[0], together.token_logprobs[row], atol=1e-4, rtol=1e-4)


class Tokens(nn.Module):
    """A stand-in encoder of 5 tokens whose values come from the image."""

    token_count = 5

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, : 5 * self.width].unflatten(1, (5, self.width)) * self.scale


def two_branches(theirs: nn.Module) -> CaptionNetwork:
    branches = {
        name: Branch(encoder=Tokens(width), qformer=QFormer(encoder_width=width, text=False, **tiny.QFORMER))
        for name, width in (("general", 24), ("detail", 16))
    }
    model = LanguageModel(model=theirs.language_model, tokenizer=tiny.tokenizer())
    return CaptionNetwork(branches=branches, language_model=model, prompt="w7")


def test_prefix_is_general_then_detail_then_prompt(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    network = two_branches(pair[0]).eval()
    encoded = network.encode(images())
    prefix, mask = network.prefix(encoded)
    parts = [network.projections[name](network.branches[name](*encoded[name])) for name in ("general", "detail")]
    parts.append(network.language_model.embed(torch.full((3, 1), 7)))
    torch.testing.assert_close(prefix, torch.cat(parts, dim=1))
    assert prefix.shape == (3, 2 * tiny.QUERIES + 1, 32) and bool(mask.all())


def test_cached_tokens_and_views_equal_images(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    network = two_branches(pair[0]).eval()
    encoded = network.encode(images())
    cached = {f"{name}_tokens": tokens for name, (tokens, _) in encoded.items()}
    expected = network(images(), input_ids=CAPTION, attention_mask=REAL)["loss"]
    torch.testing.assert_close(network(input_ids=CAPTION, attention_mask=REAL, **cached)["loss"], expected)
    views = torch.stack([images(), images().flip(-1)], dim=1)
    only_first = torch.tensor([[True, False]]).expand(3, -1)
    masked = network(views, only_first, input_ids=CAPTION, attention_mask=REAL)["loss"]
    torch.testing.assert_close(masked, expected, **TOLERANCE)
    both = network(views, input_ids=CAPTION, attention_mask=REAL)["loss"]
    assert (both - expected).abs() > 1e-5


def test_only_branches_and_projections_learn(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    network = two_branches(pair[0]).train()
    network(images(), input_ids=CAPTION, attention_mask=REAL)["loss"].backward()
    for name, parameter in network.named_parameters():
        frozen = name.startswith("language_model.") or ".encoder." in name
        assert parameter.requires_grad is not frozen, name
        assert (parameter.grad is None) is frozen, name
    assert not any(module.training for module in network.language_model.modules())
    assert network.branches["general"].qformer.training


@pytest.mark.parametrize("size", [0.05, 3.0])
def test_a_projection_starts_with_a_prefix_as_large_as_words(size: float) -> None:
    language_model = LanguageModel(model=tiny.captioner_of_transformers().language_model, tokenizer=tiny.tokenizer())
    words = language_model.model.get_input_embeddings().weight
    words.mul_(size / words.square().mean().sqrt())
    torch.manual_seed(0)
    states = torch.nn.functional.layer_norm(torch.randn(64, 512), (512,))  # as a Q-Former's last norm gives them
    prefix = language_model.projection_from(512)(states)
    assert prefix.square().mean().sqrt().item() == pytest.approx(size, rel=0.05)  # 32 outputs, drawn once
    plain = torch.nn.Linear(512, 32)(states)
    assert plain.square().mean().sqrt().item() == pytest.approx(3**-0.5, rel=0.1)  # PyTorch's, whatever the words


@pytest.mark.parametrize("rank", [0, 4])
def test_training_attends_in_plain_products_with_the_same_loss_and_gradients(rank: int) -> None:
    model = LanguageModel(
        model=tiny.captioner_of_transformers().language_model, tokenizer=tiny.tokenizer(), lora_rank=rank
    ).eval()
    prefix = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.ones(3, 5, dtype=torch.long)

    def loss_and_gradient() -> tuple[str, Tensor, Tensor]:
        loss = model.loss(prefix, mask, CAPTION, REAL)
        return base_model(model.model).config._attn_implementation, loss, *torch.autograd.grad(loss, prefix)

    fused, loss, gradient = loss_and_gradient()
    model.train()
    model.model.eval()  # the dropout of a model that learns; not its attention
    plain, plain_loss, plain_gradient = loss_and_gradient()
    assert (fused, plain) == ("sdpa", "eager")
    torch.testing.assert_close(plain_loss, loss)
    torch.testing.assert_close(plain_gradient, gradient, atol=1e-6, rtol=1e-5)
    assert model.eval() and loss_and_gradient()[0] == "sdpa"  # captions keep the fused one


def test_without_a_branch_it_is_refused(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    with pytest.raises(ValueError, match="at least one branch"):
        CaptionNetwork(branches={}, language_model=pair[1].language_model)


def test_lora_adapters_learn_and_load_with_the_rest(tmp_path: Path) -> None:
    from scripts.checkpoints.stages import load_trained
    from scripts.errors import InputError, WeightsError
    from scripts.weights.saving import save_shards, trained_state

    def network(**options: Any) -> CaptionNetwork:
        model = tiny.captioner_of_transformers().language_model
        language_model = LanguageModel(model=model, tokenizer=tiny.tokenizer(), **(options or {"lora_rank": 4}))
        branch = Branch(encoder=Tokens(24), qformer=QFormer(encoder_width=24, text=False, dropout=0.0, **tiny.QFORMER))
        return CaptionNetwork(branches={"general": branch}, language_model=language_model)

    trained = network()
    optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        trained.train()(images(), input_ids=CAPTION, attention_mask=REAL)["loss"].backward()
        optimizer.step()
    adapters = [name for name, p in trained.named_parameters() if "lora_" in name and p.requires_grad]
    assert adapters and all(trained.get_parameter(name).abs().max() > 0 for name in adapters)
    save_shards(trained_state(trained), tmp_path / "model.pt", dtype=torch.float32)
    twin = network().eval()
    expected = trained.eval()(images(), input_ids=CAPTION, attention_mask=REAL)["loss"]
    assert (twin(images(), input_ids=CAPTION, attention_mask=REAL)["loss"] - expected).abs() > 1e-4
    load_trained(twin, tmp_path / "model.pt")
    torch.testing.assert_close(twin(images(), input_ids=CAPTION, attention_mask=REAL)["loss"], expected)
    assert torch.equal(twin(images()), trained(images()))  # and captions
    merged = network(adapters=tmp_path / "model.pt").eval()  # as captioning takes them
    load_trained(merged, tmp_path / "model.pt")
    torch.testing.assert_close(merged(images(), input_ids=CAPTION, attention_mask=REAL)["loss"], expected)
    with pytest.raises(InputError, match="lora_rank at 0"):  # they would count twice, and captions break into nonsense
        network(adapters=tmp_path / "model.pt", lora_rank=4)
    older = {n: v for n, v in torch.load(tmp_path / "model.pt", weights_only=True).items() if not n.endswith("alpha")}
    torch.save(older, tmp_path / "older.pt")
    again = network().eval()
    load_trained(again, tmp_path / "older.pt")
    torch.testing.assert_close(again(images(), input_ids=CAPTION, attention_mask=REAL)["loss"], expected)
    with pytest.raises(WeightsError, match="lora_"):  # never left out unsaid
        load_trained(network(lora_rank=0), tmp_path / "model.pt")
    damaged = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save({name: value for name, value in damaged.items() if name != adapters[0]}, tmp_path / "damaged.pt")
    with pytest.raises(WeightsError, match="lora_"):
        load_trained(network(), tmp_path / "damaged.pt")


def test_adapters_may_begin_at_a_checkpoint_that_was_trained_without(tmp_path: Path) -> None:
    from scripts.checkpoints.stages import load_trained
    from scripts.weights.saving import save_shards, trained_state

    def network(rank: int) -> CaptionNetwork:
        model = tiny.captioner_of_transformers().language_model
        language_model = LanguageModel(model=model, tokenizer=tiny.tokenizer(), lora_rank=rank)
        branch = Branch(encoder=Tokens(24), qformer=QFormer(encoder_width=24, text=False, dropout=0.0, **tiny.QFORMER))
        return CaptionNetwork(branches={"general": branch}, language_model=language_model).eval()

    plain, tunable = network(0), network(4)
    save_shards(trained_state(plain), tmp_path / "model.pt", dtype=torch.float32)
    load_trained(tunable, tmp_path / "model.pt")
    losses = [net(images(), input_ids=CAPTION, attention_mask=REAL)["loss"] for net in (plain, tunable)]
    torch.testing.assert_close(losses[1], losses[0])


def test_a_caption_may_end_with_another_token() -> None:
    from scripts.errors import WeightsError

    model = tiny.captioner_of_transformers().language_model
    assert LanguageModel(model=model, tokenizer=tiny.tokenizer(), caption_end="w9").eos_token_id == 9
    assert LanguageModel(model=model, tokenizer=tiny.tokenizer()).eos_token_id == tiny.END
    with pytest.raises(WeightsError, match="2 tokens"):
        LanguageModel(model=model, tokenizer=tiny.tokenizer(), caption_end="w9 w10")


def test_what_queries_have_in_common_counts_in_training_only(pair: tuple[nn.Module, CaptionNetwork]) -> None:
    _, ours = pair
    case = {"image": images(), "input_ids": CAPTION, "attention_mask": REAL}
    plain, states = ours.eval()(**case), ours.query_states(ours.encode(case["image"]))
    ours.sameness_weight = 0.5
    try:
        assert ours(**case) == plain and list(plain) == ["loss"]  # a validation's loss is of captions
        weighed = ours.train()(**case)
    finally:
        ours.eval().sameness_weight = 0.0
    assert list(weighed) == ["loss", "general_sameness"]
    expected = sameness(states["general"])
    torch.testing.assert_close(weighed["general_sameness"], expected, **TOLERANCE)
    torch.testing.assert_close(weighed["loss"], plain["loss"] + 0.5 * expected, **TOLERANCE)
    assert torch.autograd.grad(weighed["general_sameness"], ours.branches["general"].qformer.query_tokens)[0].any()


def test_captions_have_no_marks_but_their_end() -> None:
    """A chat model's "turn begins" decodes to nothing, and after it the words of a chat."""
    model = tiny.captioner_of_transformers().language_model
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["w7", "w8"]})
    language_model = LanguageModel(model=model, tokenizer=tokenizer)
    assert {7, 8} <= set(language_model.marks) and tiny.END not in language_model.marks
    branch = Branch(encoder=Tokens(24), qformer=QFormer(encoder_width=24, text=False, dropout=0.0, **tiny.QFORMER))
    network = CaptionNetwork(branches={"general": branch}, language_model=language_model).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight[7] *= 50.0  # its logit is the largest, or the smallest, nearly everywhere
    generated = network.generate(network.encode(images()))
    assert not set(generated.token_ids[generated.token_logprobs != 0].tolist()) & set(language_model.marks)
