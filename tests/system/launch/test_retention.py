"""What decides which checkpoints stay, by the kind of evaluation."""

import json

import pytest

from system.foundation.config import resolve
from system.launch.command import ROOT
from system.launch.retention import WORST
from system.launch.retention import retention
from system.launch.retention import ruling_metric
from system.launch.retention import unmeasured


def recipe(*settings: str):
    return resolve(ROOT / "configs/simflow_digits.yaml", list(settings)).recipe


REFERENCE = (
    "evaluation.every_images=1",
    "evaluation.reference=r.npz",
    "evaluation.detector=d.pth",
)


@pytest.mark.parametrize(
    ("settings", "metric"),
    [
        ((), "evaluation/gfid"),
        (("objective.route=autoencoder_only",), "evaluation/rfid"),
        (("evaluation.kind=adm_50k", *REFERENCE), "evaluation/gfid"),
        (("evaluation.kind=dinov2", *REFERENCE), "evaluation/fd_dinov2"),
    ],
)
def test_the_ruling_metric(settings, metric):
    made = recipe(*settings)
    assert ruling_metric(made) == metric
    assert json.loads(json.dumps(unmeasured(made))) == {metric: WORST}
    config = retention(made)
    assert config.checkpoint_score_attribute == metric
    assert config.checkpoint_score_order == "min"
    assert config.num_to_keep == made.run.keep_checkpoints


def test_without_evaluations_the_newest_stay():
    made = recipe("evaluation.kind=none")
    assert ruling_metric(made) is None
    assert unmeasured(made) == {}
    assert retention(made).checkpoint_score_attribute is None
