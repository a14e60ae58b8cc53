from system.launch.plan.network.gathers import Limits
from system.launch.plan.network.gathers import gathers

FOUR = [10, 10, 10, 10]
TRAINED = [True] * 4


def numbers(found, sizes) -> int:
    return sum(sizes[place] for _, places in found for place in places)


def test_what_is_used_again_soon_is_gathered_once() -> None:
    found = gathers(FOUR, TRAINED, Limits(ahead=0, live=100, reuse=1000, kept=0))
    assert found == [(True, (place,)) for place in range(4)]


def test_what_is_used_again_late_is_gathered_on_the_way_back_too() -> None:
    found = gathers(FOUR, TRAINED, Limits(ahead=0, live=100, reuse=20, kept=0))
    assert [places for is_forward, places in found if is_forward] == [(0,), (1,), (2,), (3,)]
    assert [places for is_forward, places in found if not is_forward] == [(2,), (1,), (0,)]


def test_a_look_ahead_puts_weights_together_and_gathers_as_many() -> None:
    limits = Limits(ahead=20, live=1000, reuse=1000, kept=0)
    found = gathers(FOUR, TRAINED, limits)
    assert found == [(True, (0,)), (True, (1, 2)), (True, (3,))]


def test_small_weights_are_never_gathered_in_a_pass() -> None:
    found = gathers([5, 10], [True, True], Limits(ahead=0, reuse=0, kept=5))
    assert found == [(True, (1,)), (False, (1,))]


def test_what_is_not_trained_has_no_way_back() -> None:
    found = gathers(FOUR, [False] * 4, Limits(ahead=0, live=100, reuse=0, kept=0))
    assert numbers(found, FOUR) == 40
    assert all(is_forward for is_forward, _ in found)


def test_a_model_of_1_4_billion_is_gathered_less_than_twice() -> None:
    sizes = [5_000_000] * 280
    total = sum(sizes)
    found = gathers(sizes, [True] * len(sizes), Limits())
    assert total < numbers(found, sizes) < 2 * total
