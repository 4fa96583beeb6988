from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from scripts.checkpoints.stages import export_encoder
from scripts.concepts.tagger import CaptionConceptsd, ConceptNetwork, mixed
from scripts.concepts.vocabulary import ConceptVocabulary, phrases
from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.errors import InputError
from scripts.metrics.tagger_metrics import validation_metrics
from scripts.weights.loading import trained_names
from scripts.weights.saving import save_shards, trained_state

CAPTIONS = [
    "Axial T2-weighted MRI of the head showing a cyst.",
    "Axial FLAIR MRI of the head showing a tumor.",
    "Sagittal MRI of the spine showing a cyst.",
    "Axial CT of the head showing a bleed.",
]


def test_phrases_are_runs_of_words_without_punctuation():
    assert phrases("AP X-ray, (left) lung.", 2) == {
        "ap",
        "x-ray",
        "left",
        "lung",
        "ap x-ray",
        "x-ray left",
        "left lung",
    }


def test_vocabulary_holds_frequent_phrases_once():
    vocabulary = ConceptVocabulary.from_captions([*CAPTIONS * 100, "oblique"], min_count=2, max_share=0.9, longest=3)
    assert "axial" in vocabulary.names and "mri of the" not in vocabulary.names  # "mri" has the same captions
    assert "mri" in vocabulary.names
    assert "showing" not in vocabulary.names  # in every caption
    assert "oblique" not in vocabulary.names  # in one only
    assert "cyst" in vocabulary.names and "a cyst" not in vocabulary.names
    assert vocabulary.shares[vocabulary.names.index("axial")] == pytest.approx(300 / 401)


def test_targets_name_the_phrases_of_a_caption():
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS, max_share=0.9, longest=2)
    item = CaptionConceptsd("caption", vocabulary=vocabulary)({"caption": "axial mri, a CYST"})
    assert item["field_targets"].tolist() == [
        vocabulary.fields["plane"].index("axial"),
        vocabulary.fields["modality"].index("mri"),
        -100,
    ]
    assert {vocabulary.names[i] for i in (item["concepts"] == 1).nonzero().flatten()} == {"axial", "mri", "cyst"}


def test_few_captions_make_rare_phrases_count():
    assert "sagittal" in ConceptVocabulary.from_captions(CAPTIONS, min_count=10).names
    many = ["lung"] * 600 + ["heart"] * 600 + ["liver"] * 9
    assert ConceptVocabulary.from_captions(many, min_count=10).names == ["heart", "lung"]


def test_captions_that_say_one_thing_are_refused():
    with pytest.raises(InputError, match="captions that differ"):
        ConceptVocabulary.from_captions(["lung"] * 5)


def test_frozen_encoder_is_refused():
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS, max_share=0.9)
    with pytest.raises(InputError, match="frozen"):
        ConceptNetwork(encoder=EfficientNetEncoder(weights=None, input_size=32), vocabulary=vocabulary)


def test_loss_is_the_sum_over_concepts_and_the_cross_entropy_of_fields():
    torch.manual_seed(0)
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS, max_share=0.9)
    encoder = EfficientNetEncoder(weights=None, input_size=32, trainable_blocks="all")
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary).eval()
    targets = torch.stack([vocabulary.targets(caption) for caption in CAPTIONS])
    fields = torch.stack([vocabulary.field_targets(caption) for caption in CAPTIONS])
    out = network(torch.rand(4, 3, 32, 32), targets, fields)
    p = out["concepts"].double().sigmoid()
    expected = 0.1 * -(targets * p.log() + (1 - targets) * (1 - p).log()).sum() / 4
    for column, field in enumerate(("plane", "modality", "organ")):
        right = out[field].double().softmax(-1).gather(1, fields[:, column, None])
        expected -= right.log().mean()
    assert out["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_untrained_network_predicts_the_share_of_each_concept():
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS, max_share=0.9)
    encoder = EfficientNetEncoder(weights=None, input_size=32, trainable_blocks="all")
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary)
    nn.init.zeros_(network.concepts.weight)
    with torch.no_grad():
        logits = network.eval()(torch.rand(1, 3, 32, 32))["concepts"][0]
    torch.testing.assert_close(logits.sigmoid(), vocabulary.shares, rtol=1e-4, atol=1e-5)


def test_encoder_learns_from_pixels():
    """Bright images are 'ct', dark ones 'mri': a few steps on pixels alone must tell them apart."""
    torch.manual_seed(0)
    vocabulary = ConceptVocabulary.from_captions(["ct"] * 3 + ["mri"] * 3)
    encoder = EfficientNetEncoder(weights="starter", input_size=32, trainable_blocks="all")
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary, dropout=0.0).train()
    images = torch.cat([torch.rand(8, 3, 32, 32) * 0.2 + 0.8, torch.rand(8, 3, 32, 32) * 0.2])
    targets = torch.stack([vocabulary.targets(word) for word in ["ct"] * 8 + ["mri"] * 8])
    fields = torch.stack([vocabulary.field_targets(word) for word in ["ct"] * 8 + ["mri"] * 8])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = network(images, targets, fields)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert network(images)["modality"].argmax(1).tolist() == fields[:, 1].tolist()
    assert "encoder.stem.norm.running_mean" in trained_names(network)  # so a checkpoint holds the encoder whole


def test_a_field_that_captions_do_not_name_is_left_out():
    vocabulary = ConceptVocabulary.from_captions(["a bleed", "a cyst"])
    encoder = EfficientNetEncoder(weights=None, input_size=32, trainable_blocks=1)
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary)
    assert vocabulary.field_targets("axial ct").tolist() == [-100, -100, -100]
    assert not network.fields
    targets = vocabulary.targets("a cyst")[None]
    out = network(torch.rand(1, 3, 32, 32), targets, vocabulary.field_targets("a cyst")[None])
    assert out["loss"].item() == pytest.approx(0.1 * out["loss_concepts"].item(), rel=1e-6)


def test_validation_accuracy_is_over_the_images_whose_caption_names_the_field():
    """Batches of different sizes, and one without any: 3 of the 5 images that name a plane are right."""
    vocabulary = ConceptVocabulary.from_captions(["axial", "coronal", "a cyst"])
    metrics = validation_metrics(vocabulary)
    assert set(metrics) == {"val_loss", "plane"}
    axial, coronal, neither = 0, 1, -100
    batches = [([axial, axial, axial, neither], [0, 0, 1, 1]), ([coronal, axial], [1, 1]), ([neither], [0])]
    outputs = [
        {
            "plane": torch.nn.functional.one_hot(torch.tensor(answers), 2).float(),
            "field_targets": torch.tensor([[target, -100, -100] for target in targets]),
            "loss": torch.tensor(float(len(targets))),
        }
        for targets, answers in batches
    ]
    engine = Engine(lambda _, output: {"pred": output})
    for name, metric in metrics.items():
        metric.attach(engine, name)
    assert engine.run(outputs).metrics == {"val_loss": pytest.approx((16 + 4 + 1) / 7), "plane": pytest.approx(3 / 5)}


def batch() -> tuple[ConceptVocabulary, torch.Tensor, torch.Tensor, torch.Tensor]:
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS, max_share=0.9)
    concepts = torch.stack([vocabulary.targets(caption) for caption in CAPTIONS])
    fields = torch.stack([vocabulary.field_targets(caption) for caption in CAPTIONS])
    return vocabulary, torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), concepts, fields


def test_mixed_images_have_the_loss_of_both_by_their_shares():
    vocabulary, images, concepts, fields = batch()
    encoder = EfficientNetEncoder(weights=None, input_size=32, trainable_blocks="all")
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary, dropout=0.0, mixup=0.4).train()
    torch.manual_seed(3)
    mixture, share, order = mixed(images, 0.4)
    assert 0.5 <= share < 1 and not torch.equal(order, torch.arange(4))
    torch.testing.assert_close(mixture, share * images + (1 - share) * images[order])
    torch.manual_seed(3)
    found = network(images, concepts, fields)["loss"]
    network.mixup = 0.0
    own, others = (network(mixture, concepts[o], fields[o])["loss"] for o in (slice(None), order))
    torch.testing.assert_close(found, share * own + (1 - share) * others)
    network.mixup = 0.4
    losses = [network.eval()(images, concepts, fields)["loss"] for _ in range(2)]
    torch.testing.assert_close(*losses)


def test_a_case_of_several_views_is_read_by_their_mean_and_padding_does_not_count():
    """Cases of 2, 1, 2 and 1 views, with batch statistics: whatever stands in the padding, loss and statistics stay."""
    vocabulary, images, concepts, fields = batch()
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
    views = torch.stack([images, images.flip(0)], dim=1)
    losses, means = [], []
    for padding in (0.0, 1.0):
        torch.manual_seed(0)
        encoder = EfficientNetEncoder(weights=None, input_size=32, trainable_blocks="all", batch_statistics=True)
        network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary, dropout=0.0, mixup=0.4).train()
        views[~mask] = padding
        losses.append(network(image=views, image_mask=mask, concepts=concepts, field_targets=fields)["loss"])
        means.append(encoder.stem.norm.running_mean)
    assert torch.equal(*losses) and torch.equal(*means)
    network.eval()
    whole, single = network(views, image_mask=mask), [network(view) for view in views.unbind(1)]
    torch.testing.assert_close(whole["concepts"][1], single[0]["concepts"][1])
    torch.testing.assert_close(whole["plane"][0], (single[0]["plane"][0] + single[1]["plane"][0]) / 2)
    torch.testing.assert_close(network(images[:, None])["concepts"], network(images)["concepts"])


def test_views_that_the_other_case_lacks_are_not_mixed_with_padding():
    images = torch.rand(2, 2, 3, 8, 8)
    mask = torch.tensor([[True, True], [True, False]])
    torch.manual_seed(1)
    while True:
        mixture, share, order = mixed(images, 0.4, mask)
        if order[0] == 1:
            break
    assert torch.equal(mixture[0, 1], images[0, 1])
    torch.testing.assert_close(mixture[0, 0], share * images[0, 0] + (1 - share) * images[1, 0])


def test_label_smoothing_is_of_the_fields_and_of_training_only():
    vocabulary, images, concepts, fields = batch()
    encoder = EfficientNetEncoder(weights=None, input_size=32, trainable_blocks="all")
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary, dropout=0.0, label_smoothing=0.2).train()
    out = network(images, concepts, fields)
    likely = out["plane"].log_softmax(dim=1)
    right = likely.gather(1, fields[:, :1])[:, 0]
    torch.testing.assert_close(out["loss_plane"], -(0.8 * right + 0.2 * likely.mean(dim=1)).mean())
    out = network.eval()(images, concepts, fields)
    torch.testing.assert_close(out["loss_plane"], -right.mean(), atol=1e-3, rtol=1e-3)


def test_batch_statistics_are_used_and_followed_in_training_only():
    torch.manual_seed(0)
    plain, following = (
        EfficientNetEncoder(weights="starter", input_size=32, trainable_blocks="all", batch_statistics=asked)
        for asked in (False, True)
    )
    images = torch.rand(6, 3, 32, 32)
    start = plain(images)
    torch.testing.assert_close(following(images), start)
    before = following.stem.norm.running_mean.clone()
    plain.train(), following.train()
    torch.testing.assert_close(plain(images), start)
    pixels = following.prepare(images)
    convolved = nn.functional.conv2d(nn.functional.pad(pixels, (0, 1, 0, 1)), following.stem.conv.weight, stride=2)
    normal = nn.functional.batch_norm(
        convolved, None, None, following.stem.norm.weight, following.stem.norm.bias, training=True, eps=1e-3
    )
    torch.testing.assert_close(following.stem(pixels), normal, atol=1e-4, rtol=1e-4)
    mean = convolved.mean(dim=(0, 2, 3))
    torch.testing.assert_close(following.stem.norm.running_mean, 0.95 * before + 0.05 * mean, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(following(images), start, atol=0.1)
    following.eval()
    torch.testing.assert_close(following(images), following(images))


def test_an_encoder_of_which_some_blocks_learned_is_published_whole(tmp_path: Path) -> None:
    vocabulary = ConceptVocabulary.from_captions(["axial ct", "axial mri"])
    encoder = EfficientNetEncoder(weights="starter", input_size=64, trainable_blocks=14, batch_statistics=True)
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary)
    save_shards(trained_state(network), tmp_path / "model.pt", dtype=torch.float32)
    published = EfficientNetEncoder(weights=export_encoder(tmp_path / "model.pt", "general", tmp_path / "encoder.pt"))
    stored = published.state_dict()  # in half precision
    assert stored.keys() == encoder.state_dict().keys()
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(stored[name], value, atol=1e-6, rtol=1e-3, msg=name)
