import pytest
import torch

from system.evaluation.measures.generation import cut_halves
from system.evaluation.measures.generation import drawn_distance
from system.evaluation.measures.generation import generation
from system.evaluation.scores.accuracy import accuracy
from system.evaluation.scores.frechet import frechet_distance_of
from system.foundation import streams


def test_real_images_in_place_of_drawn_ones_stand_at_the_floor(bench):
    cut = cut_halves(bench)
    halves = cut.features
    count = len(bench.train.label) // 2
    order = torch.from_numpy(
        streams.generator(0, "evaluation/halves").permutation(len(bench.train.label))
    )
    first, second = order[:count], order[count : 2 * count]
    stand_in = torch.cat([second, first])
    assert torch.equal(cut.label, bench.train.label[stand_in])
    features = bench.detector.look(bench.train.image).features
    estimate = drawn_distance(features[stand_in], halves)
    assert estimate.value == pytest.approx(halves.floor, rel=1e-9)
    # Batches of the detector are cut elsewhere here, which changes its float32 rounding.
    by_features = frechet_distance_of(features[first], features[second])
    assert halves.floor == pytest.approx(by_features, rel=1e-4)
    spatial = bench.detector.look(bench.train.image).spatial
    assert drawn_distance(spatial[stand_in], cut.spatial).value == pytest.approx(cut.spatial.floor)
    by_features = frechet_distance_of(spatial[first], spatial[second])
    assert cut.spatial.floor == pytest.approx(by_features, rel=1e-4)


def test_the_error_bar_covers_another_draw_of_real_images(bench, held_out):
    halves = cut_halves(bench).features
    features = bench.detector.look(bench.train.image).features
    resampled = streams.integers(0, "test/resample", range(2 * halves.count), len(features))
    estimate = drawn_distance(features[resampled], halves)
    assert 0 < estimate.standard_error < estimate.value
    assert estimate.corrected < estimate.value  # few samples make the distance too large


def test_every_number_of_drawn_images_carries_how_they_were_drawn(bench):
    measured = {one.name.removeprefix("evaluation/"): one for one in generation(bench)}
    assert set(measured) == {
        "gfid_floor",
        "gfid",
        "gfid_ratio",
        "sfid_floor",
        "sfid",
        "sfid_unguided",
        "conditional_accuracy",
        "gfid_unguided",
        "gfid_ratio_unguided",
        "conditional_accuracy_unguided",
        *("precision", "precision_unguided", "recall", "recall_unguided", "kid", "kid_unguided"),
    }
    gfid, unguided = measured["gfid"].protocol, measured["gfid_unguided"].protocol
    assert gfid.drawing.sampler.guidance == bench.settings.guidance
    assert gfid.drawing.sampler.guidance_rule == "starflow"
    assert unguided.drawing.sampler.guidance == 0
    assert gfid.detector.digest == bench.detector.digest
    assert gfid.samples == len(bench.train.label) // 2
    assert measured["gfid_floor"].protocol.drawing is None
    assert measured["sfid"].protocol.metric == "spatial_frechet_distance"
    assert measured["sfid"].protocol.moments_dtype == "float64"
    ratio = measured["gfid"].value / measured["gfid_floor"].value
    assert measured["gfid_ratio"].value == pytest.approx(ratio, rel=1e-12)


def test_random_weights_draw_no_digits(bench):
    measured = {one.name: one.value for one in generation(bench)}
    assert measured["evaluation/gfid_ratio"] > 5
    assert measured["evaluation/sfid"] > 5 * measured["evaluation/sfid_floor"]
    assert measured["evaluation/conditional_accuracy"] < 0.5
    # The same judge on real images: the distance between the two is what the number is for.
    assert accuracy(bench.detector.look(bench.train.image).logits, bench.train.label) > 0.98
