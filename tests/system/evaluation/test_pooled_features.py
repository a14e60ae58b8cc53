import numpy as np
import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.evaluation.pooled_features import Look
from system.evaluation.pooled_features import fresh_flow
from system.evaluation.pooled_features import pooled_features
from system.flow.flow import to_tokens
from system.foundation import streams
from system.foundation.errors import DataError
from system.foundation.errors import NumericsError

PLACES = ((0, 1), (1, 1))


@pytest.fixture(scope="module")
def manifest(recipe):
    return read_manifest(recipe.data.shards)


def features(subject, manifest, split="held_out", **look):
    flows = {"trained": subject.model.flow}
    return pooled_features(subject, flows, PLACES, Look(**look), manifest=manifest, split=split)


def test_features_are_means_of_the_traced_ones(subject, manifest, held_out):
    found = features(subject, manifest)
    assert torch.equal(found.label, held_out.label)
    flow, count = subject.model.flow, 5
    posterior = subject.model.autoencoder.encode(held_out.image[:count].float() / 127.5 - 1)
    tokens = to_tokens(posterior.mean, subject.recipe.flow.patch)
    trace = flow.trace(tokens, flow.null_condition(count), set(PLACES))
    for place in PLACES:
        expected = trace.features[place].mean(dim=1)
        torch.testing.assert_close(
            found.pooled["trained", place][:count], expected, rtol=0, atol=1e-5
        )


def test_features_that_are_not_finite_are_named(subject, manifest):
    flow = fresh_flow(subject, 0)
    flow.blocks[1].token_in.bias.fill_(torch.nan)
    with pytest.raises(NumericsError, match="trained weights after layer 1 of block 1"):
        pooled_features(
            subject, {"trained": flow}, PLACES, Look(), manifest=manifest, split="held_out"
        )


def test_the_batch_changes_rounding_alone(subject, manifest):
    for latent in ("mean", "draw"):
        whole, cut = (
            features(subject, manifest, latent=latent, batch=batch) for batch in (1000, 77)
        )
        torch.testing.assert_close(
            cut.pooled["trained", (1, 1)], whole.pooled["trained", (1, 1)], rtol=0, atol=1e-5
        )


def test_a_draw_is_of_the_posterior_and_of_the_seed(subject, manifest):
    mean, draw, other = (
        features(subject, manifest, latent=latent, seed=seed).pooled["trained", (0, 1)]
        for latent, seed in (("mean", 0), ("draw", 0), ("draw", 1))
    )
    assert not torch.equal(mean, draw)
    assert not torch.equal(draw, other)


def test_every_image_is_told_the_same(subject, manifest, held_out):
    found = features(subject, manifest, told=3).pooled["trained", (1, 1)][:4]
    flow = subject.model.flow
    posterior = subject.model.autoencoder.encode(held_out.image[:4].float() / 127.5 - 1)
    tokens = to_tokens(posterior.mean, subject.recipe.flow.patch)
    trace = flow.trace(tokens, flow.condition(torch.full((4,), 3)), {(1, 1)})
    torch.testing.assert_close(found, trace.features[1, 1].mean(dim=1), rtol=0, atol=1e-5)


def test_some_training_images_are_the_same_ones_by_the_same_seed(subject, manifest, train):
    few = features(subject, manifest, "train", train_images=40)
    order = streams.generator(0, "features/train_images").permutation(len(train.label))
    assert torch.equal(few.label, train.label[torch.from_numpy(np.sort(order[:40]))])
    assert len(few.pooled["trained", (0, 1)]) == 40
    assert len(features(subject, manifest, train_images=40).label) > 40  # the others are whole


def test_fresh_weights_are_a_function_of_the_seed_and_nothing_else(subject):
    with torch.random.fork_rng():
        first = fresh_flow(subject, 0).state_dict()
        torch.manual_seed(5)
        again, other = (fresh_flow(subject, seed).state_dict() for seed in (0, 1))
    assert set(first) == set(subject.model.flow.state_dict())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_shards_of_other_data_are_refused(subject, manifest):
    data = subject.recipe.data.model_copy(update={"classes": 7})
    recipe = subject.recipe.model_copy(update={"data": data})
    other = type(subject)(recipe, subject.model, 0, subject.device)
    with pytest.raises(DataError, match="7"):
        features(other, manifest)
