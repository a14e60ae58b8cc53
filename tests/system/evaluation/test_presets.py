from typing import get_args

import pytest

from system.evaluation.presets import PRESETS
from system.foundation.settings.evaluation import Preset as Asked


def test_every_preset_that_a_recipe_may_ask_for_is_there():
    assert set(get_args(Asked)) | {"digits"} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_fixes_what_its_scores_need(preset):
    assert preset.scores
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
