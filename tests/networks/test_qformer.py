"""Q-Former against transformers' BLIP-2 Q-Former and BERT with the same weights, and its own two attention forms."""

from __future__ import annotations

import pytest
import torch

from scripts.checkpoints.bert import initialise_from_bert, spread_layers
from scripts.networks.qformer import QFormer

SIZES = {"width": 32, "layers": 4, "heads": 4, "intermediate": 64, "queries": 6, "vocabulary": 50, "max_positions": 20}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}  # float32 sums of a few hundred terms in another order


def small(**changes: object) -> QFormer:
    return QFormer(encoder_width=24, **{**SIZES, "dropout": 0.0, **changes}).eval()


def huggingface_twin(ours: QFormer) -> tuple[torch.nn.Module, torch.nn.Module]:
    """transformers' Q-Former and text embeddings with our weights, mapped here by hand, apart from product code."""
    from transformers import Blip2QFormerConfig
    from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2TextEmbeddings

    config = Blip2QFormerConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        encoder_hidden_size=24,
        cross_attention_frequency=2,
        max_position_embeddings=20,
        use_qformer_text_input=True,
    )
    model, embeddings = Blip2QFormerModel(config).eval(), Blip2TextEmbeddings(config).eval()
    for twin, layer in zip(model.encoder.layer, ours.layers, strict=True):
        pairs = [(twin.attention, layer.self_attention)]
        if layer.cross_attention is not None:
            pairs.append((twin.crossattention, layer.cross_attention))
        for theirs, mine in pairs:
            for part in ("query", "key", "value"):
                getattr(theirs.attention, part).load_state_dict(getattr(mine, part).state_dict())
            theirs.output.dense.load_state_dict(mine.output.state_dict())
            theirs.output.LayerNorm.load_state_dict(mine.norm.state_dict())
        blocks = [
            (twin.intermediate_query, twin.output_query, layer.query_feed_forward),
            (twin.intermediate, twin.output, layer.text_feed_forward),
        ]
        for expand, contract, mine in blocks:
            expand.dense.load_state_dict(mine.expand.state_dict())
            contract.dense.load_state_dict(mine.contract.state_dict())
            contract.LayerNorm.load_state_dict(mine.norm.state_dict())
    model.layernorm.load_state_dict(ours.embedding_norm.state_dict())
    embeddings.word_embeddings.load_state_dict(ours.word_embeddings.state_dict())
    embeddings.position_embeddings.load_state_dict(ours.position_embeddings.state_dict())
    return model, embeddings


def test_queries_and_text_equal_transformers() -> None:
    ours = small()
    theirs, embeddings = huggingface_twin(ours)
    tokens, ids = torch.randn(3, 7, 24), torch.randint(1, 50, (3, 5))
    mask = torch.ones(3, 5, dtype=torch.long)
    mask[1, 3:] = 0
    queries = ours.query_tokens.expand(3, -1, -1)
    joint = embeddings(input_ids=ids, query_embeds=queries)
    expected = theirs(
        query_embeds=joint,
        query_length=6,
        attention_mask=torch.cat([torch.ones(3, 6, dtype=torch.long), mask], 1),
        encoder_hidden_states=tokens,
    ).last_hidden_state
    see = torch.cat([torch.ones(3, 6, dtype=torch.bool), mask.bool()], 1)[:, None, None]
    actual = ours(ours.project(tokens), texts=(ids,), mask=see)
    torch.testing.assert_close(actual, expected, **TOLERANCE)
    expected_queries = theirs(query_embeds=queries, encoder_hidden_states=tokens).last_hidden_state
    torch.testing.assert_close(ours(ours.project(tokens)), expected_queries, **TOLERANCE)


def test_absorbed_cross_attention_equals_plain_with_gradients() -> None:
    plain, absorbed = small(), small(absorbed=True)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # biases too: they must cancel or pass through
    absorbed.load_state_dict(plain.state_dict())
    tokens = torch.randn(2, 40, 24)
    mask = torch.rand(2, 40) > 0.3
    outputs = []
    for model in (plain, absorbed):
        result = model(model.project(tokens, mask))
        result.square().sum().backward()
        outputs.append(result)
    torch.testing.assert_close(outputs[0], outputs[1], atol=2e-5, rtol=2e-5)
    for (name, left), right in zip(plain.named_parameters(), absorbed.parameters(), strict=True):
        if left.grad is not None and "cross_attention.key.bias" not in name:  # its true gradient is zero
            torch.testing.assert_close(left.grad, right.grad, atol=2e-3, rtol=2e-3, msg=name)


@pytest.mark.parametrize("rows", [3, 6, 7, 9])
def test_rows_that_are_wanted_are_those_of_all(rows: int) -> None:
    model = small()
    memory, ids = model.project(torch.randn(2, 7, 24)), torch.randint(1, 50, (2, 5))
    for mask in (None, torch.rand(2, 1, 1, 11) > 0.2, torch.rand(2, 1, 11, 11).add(torch.eye(11)) > 0.5):
        every = model(memory, texts=(ids,), mask=mask)
        torch.testing.assert_close(model(memory, texts=(ids,), mask=mask, rows=rows), every[:, :rows], **TOLERANCE)


def test_scale_and_shift_are_not_left_to_the_absorbed_form() -> None:
    with pytest.raises(ValueError, match="absorbed"):
        small(absorbed=True).project(torch.randn(1, 4, 24), None, (torch.ones(24), torch.zeros(24)))


def test_masked_tokens_have_no_influence() -> None:
    model = small()
    tokens = torch.randn(2, 9, 24)
    mask = torch.arange(9)[None].expand(2, -1) < 5
    changed = tokens.clone()
    changed[:, 5:] = 100.0
    first = model(model.project(tokens, mask))
    torch.testing.assert_close(first, model(model.project(changed, mask)))
    torch.testing.assert_close(first, model(model.project(tokens[:, :5])), **TOLERANCE)


def test_queries_differ_at_the_start() -> None:
    model = small()
    assert 0.015 < model.query_tokens.std() < 0.025
    out = model(model.project(torch.randn(1, 4, 24)))
    assert (out[0, 0] - out[0, 1]).abs().max() > 1e-2


def test_selecting_memory_equals_projecting_again() -> None:
    model = small()
    tokens, index = torch.randn(4, 5, 24), torch.tensor([2, 2, 0])
    torch.testing.assert_close(model(model.project(tokens).select(index)), model(model.project(tokens[index])))


def test_without_text_path_it_is_smaller_and_says_so() -> None:
    model = small(text=False)
    assert model(model.project(torch.randn(1, 4, 24))).shape == (1, 6, 32)
    with pytest.raises(RuntimeError, match="text path"):
        model(texts=(torch.ones(1, 3, dtype=torch.long),), use_queries=False)


def test_wrong_token_width_is_refused() -> None:
    with pytest.raises(ValueError, match="24"):
        small().project(torch.randn(1, 4, 25))


def test_text_path_started_from_bert_is_bert() -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=49,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=20,
    )
    bert = BertModel(config).eval()
    ours = small()
    report = initialise_from_bert(ours, bert.state_dict(), source="a random BERT")
    ids = torch.randint(1, 49, (2, 6))
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    expected = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    actual = ours(texts=(ids,), mask=mask.bool()[:, None, None], use_queries=False)
    torch.testing.assert_close(actual, expected, **TOLERANCE)
    assert all("cross_attention" in name or name == "query_tokens" for name in report.random)
    layer = ours.layers[1]
    torch.testing.assert_close(layer.query_feed_forward.expand.weight, layer.text_feed_forward.expand.weight)


def test_bert_with_a_missing_parameter_is_refused() -> None:
    from transformers import BertConfig, BertModel

    from scripts.errors import WeightsError

    config = BertConfig(vocab_size=49, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64)
    config.max_position_embeddings = 20
    state = BertModel(config).state_dict()
    del state["encoder.layer.2.output.dense.weight"]
    with pytest.raises(WeightsError, match=r"layers\.2\.text_feed_forward\.contract\.weight"):
        initialise_from_bert(small(), state, source="a random BERT")


@pytest.mark.parametrize(
    ("own", "bert", "taken"), [(3, 6, (1, 3, 5)), (2, 5, (2, 4)), (4, 4, (0, 1, 2, 3)), (1, 6, (5,))]
)
def test_fewer_layers_take_those_spread_to_the_last(own: int, bert: int, taken: tuple[int, ...]) -> None:
    assert spread_layers(own, bert) == taken


def test_a_q_former_without_text_starts_from_bert_as_one_with_text() -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 20}
    state = BertModel(BertConfig(vocab_size=49, num_hidden_layers=6, **sizes)).state_dict()
    with_text, without = small(), small(text=False)
    without.load_state_dict({name: with_text.state_dict()[name] for name in without.state_dict()})
    for ours in (with_text, without):
        initialise_from_bert(ours, state, source="a random BERT")
    torch.testing.assert_close(
        without.layers[3].query_feed_forward.expand.weight, state["encoder.layer.5.intermediate.dense.weight"]
    )
    tokens = torch.randn(2, 5, 24)
    torch.testing.assert_close(without.eval()(without.project(tokens)), with_text.eval()(with_text.project(tokens)))


@pytest.mark.parametrize("wide", [True, False])
def test_cross_attention_starts_wide_or_as_published(wide: bool) -> None:
    """Standard deviations of thousands of draws, within a tenth; all other weights are the same either way."""
    torch.manual_seed(0)
    qformer = small(width=64, wide_cross_attention=wide)
    for name, parameter in qformer.named_parameters():
        if parameter.ndim < 2:
            continue
        widened = wide and "cross_attention" in name and "query" not in name
        expected = parameter.shape[1] ** -0.5 if widened else 0.02
        assert parameter.std().item() == pytest.approx(expected, rel=0.1), name
    narrow = small(width=64, wide_cross_attention=False)
    narrow.load_state_dict(qformer.state_dict())
    tokens = torch.randn(2, 5, 24)
    assert torch.equal(narrow(narrow.project(tokens)), qformer(qformer.project(tokens)))
