"""The ruling score of a sweep is the one that evaluations write."""

import hashlib
from contextlib import nullcontext

import pytest

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.measures.generation import cut_halves
from system.evaluation.measures.generation import drawn_quality
from system.evaluation.measures.reference import reference_stages
from system.evaluation.reference.request import ReferenceRequest
from system.evaluation.reference.request import make_reference
from system.evaluation.scores.jackknife import mean_of
from system.evaluation.studio import Studio
from system.evaluation.yardstick import yardstick_of
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import ReferenceEvaluation
from tests.random_inception import write_random_inception


@pytest.fixture(autouse=True)
def one_thread():
    """As evaluations and sweeps compute."""
    with exact_arithmetic(threads=1):
        yield


@pytest.fixture
def made(subject, checkpoint, root, tmp_path, detector):
    """The yardstick of a recipe and the studio that it looks in."""

    def make(recipe):
        studio = Studio(AloneCrew(), str(tmp_path / "units"))
        home = str(root / "any")
        return yardstick_of(subject, recipe, home, checkpoint=checkpoint, studio=studio), studio

    return make


def measured(yardstick, studio, subject, settings, count):
    source = yardstick.drawn(subject, settings, count)
    found = mean_of(yardstick.estimates(studio.look(source, yardstick.choice)))
    return found, yardstick.protocol(subject, source)


@pytest.mark.slow
def test_all_digits_have_the_gfid_that_an_evaluation_writes(made, bench, subject, recipe):
    yardstick, studio = made(recipe)
    found, protocol = measured(yardstick, studio, subject, recipe.evaluation, yardstick.full)
    truth = yardstick.bench
    [gfid] = [
        one
        for one in drawn_quality(truth, cut_halves(truth), recipe.evaluation.effective())
        if one.name == "evaluation/gfid"
    ]
    assert (found.value, found.standard_error) == (gfid.value, gfid.standard_error)
    assert (found.corrected, found.interval) == (gfid.corrected, gfid.interval)
    assert protocol.digest == gfid.protocol.digest


def test_fewer_digits_are_fewer_for_each_half(made, subject, recipe):
    yardstick, _ = made(recipe)
    few = yardstick.drawn(subject, recipe.evaluation, 80)
    label = yardstick.cut.label.tolist()
    half = yardstick.full // 2
    assert list(few.label) == label[:40] + label[half : half + 40]
    assert yardstick.protocol(subject, few).samples == 40
    for count in (79, 81, yardstick.full + 2):
        with pytest.raises(BadInput, match=f"found {count} images"):
            yardstick.refuse(count)
    yardstick.refuse(80)


@pytest.mark.slow
def test_a_distance_to_a_reference_is_the_one_that_an_evaluation_writes(
    made, subject, checkpoint, recipe, root, tmp_path
):
    path = tmp_path / "random.pth"
    write_random_inception(path)
    weights = {
        "detector": str(path),
        "detector_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    real = ReferenceRequest(
        preset="adm_50k",
        **weights,
        shards=recipe.data.shards,
        images=50,
        crop="none",
        out=str(tmp_path / "references"),
    )
    settings = ReferenceEvaluation(
        kind="adm_50k",
        every_images=1,
        reference=make_reference(real, nullcontext).url,
        samples=48,
        held_out_images=0,
        **weights,
    )
    recipe = recipe.model_copy(update={"evaluation": settings})
    yardstick, studio = made(recipe)
    with pytest.raises(BadInput, match="found 39 samples"):
        yardstick.refuse(39)
    assert yardstick.full == 50_000
    found, protocol = measured(yardstick, studio, subject, settings, 48)
    stages = reference_stages(
        subject, recipe, str(root / "any"), checkpoint=checkpoint, studio=studio
    )
    gfid = stages["generation"]()[0]
    assert gfid.name == "evaluation/gfid"
    assert (found.value, found.standard_error) == (gfid.value, gfid.standard_error)
    assert protocol.digest == gfid.protocol.digest
