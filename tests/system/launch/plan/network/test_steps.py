import pytest

from system.launch.plan.network.links import Links
from system.launch.plan.network.links import seconds
from system.launch.plan.network.messages import Message
from system.launch.plan.network.steps import PIECE_S
from system.launch.plan.network.steps import Work
from system.launch.plan.network.steps import hiding
from system.launch.plan.network.steps import step

LINKS = Links(8, "nvlink", 370.0, 47.0)
WORK = Work(forward_s=0.1, backward_s=0.2)
GRADIENTS = Message("all-reduce", "backward", 10**9)
WEIGHTS = Message("all-gather", "step", 10**9)


def test_without_a_network_there_is_nothing_but_computation() -> None:
    found = step([], WORK, 1, LINKS, behind=frozenset())
    assert (found.seconds, found.efficiency, found.binds) == (pytest.approx(0.3), 1.0, "nothing")


def test_what_hides_behind_the_way_back_costs_nothing() -> None:
    sent = [GRADIENTS, WEIGHTS]
    plain = step(sent, WORK, 16, LINKS, behind=hiding(2, overlap=False))
    behind = step(sent, WORK, 16, LINKS, behind=hiding(2, overlap=True))
    each = [seconds(one.kind, one.size, 16, LINKS) for one in sent]
    assert plain.exposed_s == pytest.approx(sum(each))
    assert behind.exposed_s == pytest.approx(each[1])
    assert plain.network_s == behind.network_s
    assert plain.binds == "all-reduces"


def test_what_is_longer_than_the_computation_shows() -> None:
    found = step([GRADIENTS] * 100, WORK, 16, LINKS, behind=hiding(2, overlap=True))
    assert found.exposed_s == pytest.approx(found.network_s - WORK.backward_s)


def test_stage_1_hides_nothing_and_stage_3_its_gathers() -> None:
    assert hiding(1, overlap=True) == hiding(2, overlap=False) == frozenset()
    assert hiding(3, overlap=False) == {"all-gather"}
    assert "reduce-scatter" in hiding(3, overlap=True)


def test_pythons_work_on_pieces_may_be_what_an_update_takes() -> None:
    found = step([Message("all-gather", "forward", 10**6, 1000)], WORK, 4096, LINKS,
                 behind=hiding(3, overlap=True))  # fmt: skip
    assert found.host_s == pytest.approx(PIECE_S * 1000 * 4096)
    assert found.seconds == found.host_s
    assert found.binds == "Python"


def test_many_small_messages_are_told_from_large_ones() -> None:
    found = step([Message("all-gather", "step", 10)] * 100, WORK, 512, LINKS, behind=frozenset())
    assert found.binds == "latency"
