import hashlib
from pathlib import Path
from typing import get_args

import pytest

from system.evaluation.detectors.choice import InceptionChoice
from system.evaluation.presets import PRESETS
from system.evaluation.presets import detector_of
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.settings.evaluation import Preset as Asked
from tests.random_inception import write_random_inception


def test_every_preset_that_a_recipe_may_ask_for_is_there():
    assert set(get_args(Asked)) | {"digits"} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_fixes_what_its_scores_need(preset):
    assert preset.scores
    assert ("sfid" in preset.scores) == (preset.spatial is not None)
    assert ("inception_score" in preset.scores) == (preset.splits is not None)
    assert ("precision" in preset.scores) == (preset.neighbours is not None)
    assert ("kid" in preset.scores) == (preset.subsets is not None)
    assert ("fd_dinov2" in preset.scores) == (preset.network == "dinov2")


def test_splits_are_of_5000_as_adm_cuts_them_and_ten_elsewhere():
    adm = PRESETS["adm_50k"]
    assert [adm.splits_of(count).count for count in (50_000, 10_000, 4_000)] == [10, 2, 1]
    assert PRESETS["torch_fidelity"].splits_of(4_000).count == 10


def test_only_tarflow_truncates_and_changes_its_reference():
    assert {name for name, each in PRESETS.items() if each.rounding == "truncate"} == {"tarflow"}
    assert {name for name, each in PRESETS.items() if each.path == "tarflow"} == {"tarflow"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adm_50k", "pt_inception-2015-12-05-6726825d.pth.*6726825d0af5"),
        ("tarflow", "pt_inception-2015-12-05-6726825d.pth"),
        ("dinov2", "dinov2_vitl14"),
    ],
)
def test_weights_that_are_absent_are_named(name, expected, tmp_path):
    with pytest.raises(BadInput, match=rf"nowhere: no file; expected .*{expected}"):
        detector_of(PRESETS[name], str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere"):
        detector_of(PRESETS["digits"], str(tmp_path / "nowhere"))


def test_other_weights_than_the_published_have_to_be_named_by_their_digest(tmp_path):
    place = tmp_path / "random_inception.pth"
    digest = hashlib.sha256(Path(write_random_inception(place)).read_bytes()).hexdigest()
    with pytest.raises(BadInput, match="expected"):
        detector_of(PRESETS["adm_50k"], str(place))
    usual = detector_of(PRESETS["tarflow"], str(place), digest=digest)
    assert usual == InceptionChoice(weights=str(place), digest=digest, resize="tf1_bilinear")
    newer = detector_of(PRESETS["tarflow"], str(place), digest=digest, resize="bilinear_antialias")
    assert newer.resize == "bilinear_antialias"
    with pytest.raises(BadInput, match="by tf1_bilinear or bilinear_antialias; expected that"):
        detector_of(PRESETS["tarflow"], str(place), digest=digest, resize="pil_bicubic")
