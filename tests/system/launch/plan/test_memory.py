import pytest

from system.engine.deepspeed_config import BUCKET_ELEMENTS
from system.foundation.settings.engine import Engine
from system.launch.plan.memory import Course
from system.launch.plan.memory import held
from system.launch.plan.memory import sizes
from system.launch.plan.shadow import shadow

NONE = (Course(((0.0, 0.0, 0),)), 1)
LARGE = (Course(((0.0, 1e12, 0),)), 1)


@pytest.fixture
def made(make_recipe):
    return shadow(make_recipe(engine=Engine(averaging_decay=0.9, further_decays=(0.99,))), "cpu")


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_what_is_sharded_is_as_each_stage_says(made, stage) -> None:
    trained = sizes(made.engine.module).trained
    whole, quarter = (held(made, stage, workers, 1, LARGE) for workers in (1, 4))
    assert whole.masters == 4 * trained
    assert whole.moments == whole.averages == 8 * trained  # two of each
    assert quarter.masters == trained
    assert quarter.moments == quarter.averages == 2 * trained
    assert (quarter.gradients == whole.gradients) == (stage < 3)  # of the first moment: none
    assert whole.weights == 2 * trained + sizes(made.engine.module).buffer_bytes
    assert whole.buckets == (0 if stage == 1 else 2 * BUCKET_ELEMENTS)


def test_gradients_of_earlier_passes_are_there_from_the_start(made) -> None:
    trained = sizes(made.engine.module).trained
    assert held(made, 2, 4, 1, LARGE).gradients == 0
    assert held(made, 2, 4, 2, LARGE).gradients == trained
    assert held(made, 1, 4, 2, LARGE).gradients == 4 * trained


def test_the_first_stage_sums_gradients_in_tensors_of_its_own(made, make_recipe) -> None:
    trained = sizes(made.engine.module).trained
    end = (Course(((0.0, 1e12, trained),)), 1)
    assert held(made, 1, 4, 1, LARGE).gradients == 4 * trained
    assert held(made, 1, 4, 1, end).gradients == (4 + 2) * trained
    wide = shadow(make_recipe(engine=Engine(precision="fp32", zero_stage=1)), "cpu")
    assert held(wide, 1, 4, 1, LARGE).gradients == 0


def test_the_sum_of_activations_and_gradients_is_looked_at_moment_by_moment() -> None:
    taken = Course(((0.0, 10.0, 0), (1.0, 4.0, 3), (2.0, 0.0, 6)))
    assert taken.highest(1) == (10.0, 0.0)
    assert taken.highest(1, gradient_bytes=2.0) == (2.0, 12.0)
    assert taken.highest(10, gradient_bytes=2.0) == (100.0, 0.0)


def test_without_activations_the_step_is_highest(made) -> None:
    trained = sizes(made.engine.module).trained
    assert held(made, 1, 1, 1, NONE).gradients == 4 * trained
    assert held(made, 1, 1, 1, NONE).activations == 0


def test_without_bf16_and_shards_weights_are_their_own_masters(make_recipe) -> None:
    made = shadow(make_recipe(engine=Engine(precision="fp32", zero_stage=0)), "cpu")
    found = held(made, 0, 1, 1, LARGE)
    assert found.masters == 0
    assert found.weights >= 4 * sizes(made.engine.module).trained
    assert found.total == pytest.approx(found.weights + found.moments + found.averages + 1e12)


def test_a_gpu_fills_one_bucket_while_it_sums_another(make_recipe) -> None:
    made = shadow(make_recipe(), "cuda")
    found = {workers: held(made, 2, workers, 1, LARGE).buckets for workers in (1, 2)}
    assert found == {1: 2 * BUCKET_ELEMENTS, 2: 4 * BUCKET_ELEMENTS}
