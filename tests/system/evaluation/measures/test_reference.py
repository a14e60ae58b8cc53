"""Drawn images against a reference, with an Inception of random weights in the true one's place."""

import hashlib
from contextlib import nullcontext

import pytest

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.measures.reference import reference_stages
from system.evaluation.reference.request import ReferenceRequest
from system.evaluation.reference.request import make_reference
from system.evaluation.studio import Studio
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import ReferenceEvaluation
from tests.random_inception import write_random_inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, and its digest."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    write_random_inception(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"detector": str(path), "detector_sha256": digest}


@pytest.fixture
def asked(recipe, weights):
    """The recipe with an evaluation against a reference at a place, few samples, and changes."""

    def make(reference, **changes):
        settings = {
            "kind": "adm_50k", "every_images": 1, "reference": str(reference), "samples": 48,
            "held_out_images": 44, "labels": "train_frequency",
        }  # fmt: skip
        evaluation = ReferenceEvaluation(**(settings | weights | changes))
        return recipe.model_copy(update={"evaluation": evaluation})

    return make


@pytest.fixture
def stages(subject, checkpoint, root, tmp_path):
    def prepare(recipe):
        studio = Studio(AloneCrew(), str(tmp_path / "units"))
        return reference_stages(
            subject, recipe, str(root / "any"), checkpoint=checkpoint, studio=studio
        )

    return prepare


def test_what_does_not_fit_is_refused_before_anything_is_drawn(asked, stages, tmp_path, bench):
    with pytest.raises(BadInput, match="sha256"):
        stages(asked(tmp_path, detector_sha256=None))
    with pytest.raises(BadInput, match="reference"):
        stages(asked(tmp_path / "absent.npz"))
    assert not (tmp_path / "units").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_model_is_measured_by_a_protocol_of_the_field(asked, stages, recipe, weights, tmp_path):
    made = make_reference(
        ReferenceRequest(
            preset="adm_50k",
            **weights,
            shards=recipe.data.shards,
            images=50,
            crop="none",
            out=str(tmp_path / "references"),
        ),
        nullcontext,
    )
    with pytest.raises(BadInput, match="found 39 samples"):
        stages(asked(made.url, samples=39))
    with pytest.raises(BadInput, match="another protocol"):
        stages(asked(made.url, kind="tarflow", resize="bilinear_antialias"))
    measured = [one for stage in stages(asked(made.url)).values() for one in stage()]
    by_name = {one.name.removeprefix("evaluation/"): one for one in measured}
    assert {
        *("gfid", "sfid", "inception_score", "precision", "recall", "rfid", "psnr_db", "ssim"),
        *("bits_per_dim", "gradient_accuracy", "spectral_entropy"),
    } <= set(by_name)
    protocol = by_name["gfid"].protocol
    assert (protocol.preset, protocol.samples) == ("adm_50k", 48)
    assert protocol.drawing.labels == "train_frequency"
    assert protocol.detector.digest == weights["detector_sha256"]
    assert protocol.reference.startswith(made.digest)
    assert by_name["rfid"].protocol.preset == "adm_50k"
    assert by_name["rfid"].protocol.samples == 44
    assert by_name["inception_score"].value >= 1
