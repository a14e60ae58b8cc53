import pytest

from system.foundation.settings.objective import Objective
from system.launch.plan.published import FLOW
from system.launch.plan.published import JOINT
from system.launch.plan.published import published


def test_a_share_of_the_peak_is_a_printed_speed_by_counted_operations() -> None:
    assert JOINT.images_per_gpu_s == pytest.approx(45.28)
    assert FLOW.images_per_gpu_s == pytest.approx(10.3, rel=0.01)
    for each in (JOINT, FLOW):
        assert each.mfu == pytest.approx(each.images_per_gpu_s * each.image_flops / 989e12)
        assert 0.03 < each.mfu < 0.2


def test_a_recipe_goes_by_the_run_that_is_most_like_it(make_recipe) -> None:
    assert published(make_recipe()) is JOINT
    frozen = make_recipe().model_copy(update={"objective": Objective(route="frozen")})
    assert published(frozen) is FLOW
