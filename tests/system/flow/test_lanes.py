import threading

import pytest
import torch

from system.flow.lanes import Lender
from system.flow.lanes import own_lane

PATIENCE = 20  # seconds until a test gives up what will not come


def numbered(most: int) -> Lender[str, str]:
    """Lends `a0`, `a1`, ... for the key a."""
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return f"{key}{made.count(key) - 1}"

    return Lender(make, most)


def test_what_is_lent_is_nobody_elses_and_is_lent_again_afterwards() -> None:
    lender = numbered(most=2)
    with lender.lent("a") as one, lender.lent("a") as other, lender.lent("b") as elsewhere:
        assert (one, other, elsewhere) == ("a0", "a1", "b0")
        with pytest.raises(AssertionError, match="more than 2 of a at once"), lender.lent("a"):
            pass
    with lender.lent("a") as again:
        assert again in ("a0", "a1")


def test_it_comes_back_from_whoever_fails() -> None:
    lender = numbered(most=1)
    with pytest.raises(ValueError, match="failed"), lender.lent("a"):
        raise ValueError("failed")
    with lender.lent("a") as again:
        assert again == "a0"


def test_threads_never_share() -> None:
    lender, held, shared = numbered(most=4), set[str](), []

    def borrow() -> None:
        for _ in range(200):
            with lender.lent("a") as thing:
                if thing in held:
                    shared.append(thing)
                held.add(thing)
                held.remove(thing)

    threads = [threading.Thread(target=borrow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not shared


@pytest.mark.gpu
def test_graphs_that_are_captured_one_after_the_other_share_memory_and_compute_right() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    total = torch.zeros(1 << 20, device=device)
    torch.cuda.synchronize()
    reserved = []
    for round_number in range(6):
        with own_lane(device) as lane:

            def step(add: float = float(round_number)) -> None:
                total.add_(torch.full_like(total, add))

            step()
            graph = lane.captured(step)
            graph.replay()
            graph.replay()
        lane.stream.synchronize()
        reserved.append(torch.cuda.memory_reserved(device))
    assert (total == 3 * sum(range(6))).all()
    assert len(set(reserved[1:])) == 1  # no graph takes memory of its own


@pytest.mark.gpu
def test_threads_capture_and_replay_beside_each_other() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    totals = [torch.zeros(1 << 16, device=device) for _ in range(4)]
    torch.cuda.synchronize()

    def count(total: torch.Tensor) -> None:
        for _ in range(20):
            with own_lane(device) as lane:

                def step() -> None:
                    total.add_(torch.ones_like(total))

                step()
                graph = lane.captured(step)
                for _ in range(9):
                    graph.replay()

    threads = [threading.Thread(target=count, args=(total,)) for total in totals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    torch.cuda.synchronize()
    assert all((total == 200).all() for total in totals)
