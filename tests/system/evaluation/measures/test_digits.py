"""What the digits protocol prepares, and what it measures of which subject."""

from dataclasses import replace

import pytest

from system.evaluation.measures.digits import classifier_accuracy
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.measures.digits import digits_stages
from system.evaluation.measures.digits import prepare
from system.evaluation.subject import assemble_subject
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import NoEvaluation


def test_detectors_lie_beside_the_runs():
    assert detectors_folder("s3://bucket/runs/digits/") == "s3://bucket/runs/detectors"
    assert detectors_folder("digits") == "./detectors"


@pytest.mark.usefixtures("detector")
def test_workers_are_told_of_the_detector_that_is_at_hand(subject, recipe, root, checkpoint, bench):
    made = prepare(subject, recipe, str(root / "any"), checkpoint=checkpoint, studio=bench.studio)
    assert made.choice.digest == made.detector.digest == bench.detector.digest
    assert len(made.train.label) + len(made.held_out.label) == 1797


def test_another_kind_of_evaluation_is_refused(subject, recipe, root, checkpoint, bench):
    none = recipe.model_copy(update={"evaluation": NoEvaluation()})
    with pytest.raises(BadInput, match="expected digits"):
        prepare(subject, none, str(root / "any"), checkpoint=checkpoint, studio=bench.studio)


@pytest.mark.usefixtures("detector")
def test_an_autoencoder_alone_is_neither_drawn_from_nor_asked_for_densities(
    subject, recipe, root, checkpoint, bench
):
    objective = recipe.objective.model_copy(update={"route": "autoencoder_only"})
    alone = recipe.model_copy(update={"objective": objective})
    lone = assemble_subject(alone, subject.model.state_dict(), 0)
    stages = {
        name: digits_stages(
            one, recipe, str(root / "any"), checkpoint=checkpoint, studio=bench.studio
        )
        for name, one in (("whole", subject), ("alone", lone))
    }
    assert set(stages["alone"]) == {"judge", "reconstruction", "latents"}
    assert set(stages["whole"]) - set(stages["alone"]) == {"density", "generation"}


def test_the_judge_is_judged_on_images_it_never_saw(bench, held_out):
    [one] = classifier_accuracy(replace(bench, held_out=held_out))
    assert one.name == "evaluation/classifier_accuracy"
    assert one.value > 0.97
    assert one.protocol.samples == len(held_out.label)
