import pytest

from system.launch.plan.network.links import Links
from system.launch.plan.network.links import latency
from system.launch.plan.network.links import seconds

H100 = Links(8, "nvlink", 370.0, 47.0)
GIB = 2.0**30


def test_a_single_worker_waits_for_nobody() -> None:
    assert seconds("all-reduce", GIB, 1, H100) == 0.0
    assert seconds("all-gather", 0, 8, H100) == 0.0


def test_large_messages_go_at_the_bandwidth_of_a_ring() -> None:
    assert seconds("all-reduce", 16 * GIB, 8, H100) == pytest.approx(
        2 * 7 / 8 * 16 * GIB / 370e9, rel=0.01
    )
    assert seconds("all-gather", 16 * GIB, 8, H100) == pytest.approx(
        7 / 8 * 16 * GIB / 370e9, rel=0.01
    )


def test_between_nodes_all_cards_of_a_node_carry() -> None:
    slow = Links(8, "nvlink", 370.0, 12.0)
    assert seconds("all-gather", 16 * GIB, 64, slow) == pytest.approx(
        63 / 64 * 16 * GIB / 96e9, rel=0.02
    )


def test_latency_grows_with_the_workers_in_a_ring_and_with_its_logarithm_in_a_tree() -> None:
    ring = [latency("all-gather", workers, H100) for workers in (512, 4096)]
    tree = [latency("all-reduce", workers, H100) for workers in (512, 4096)]
    assert 7 < ring[1] / ring[0] < 9
    assert tree[1] / tree[0] < 2
    assert 1e-3 < ring[1] < 1e-2


def test_no_message_gains_by_more_workers() -> None:
    times = [seconds("all-reduce", 1e8, workers, H100) for workers in (2, 8, 64, 512, 4096)]
    assert times == sorted(times)
