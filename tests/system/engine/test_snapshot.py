"""A snapshot of a real engine is the state at its moment, whatever the engine does meanwhile."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from system.engine.snapshot import Copies
from system.engine.snapshot import HostMemory
from system.foundation.world import World
from tests.gloo import run_workers
from tests.system.engine.matrix import DECAYS
from tests.system.engine.matrix import Snapshot as State
from tests.system.engine.matrix import _train
from tests.system.engine.matrix import make_engine
from tests.system.engine.matrix import snapshot as state_of

CPU = torch.device("cpu")


def test_a_copy_is_made_once_and_keeps_what_stands_around_it() -> None:
    weight = torch.arange(4.0, requires_grad=True)
    copies = Copies(HostMemory(CPU), CPU)
    held = copies.of({"a": weight, "b": [weight[:], (weight[1:], None)], "c": torch.Size([4])})
    copies.fill()
    with torch.no_grad():
        weight.zero_()
    assert held["a"].tolist() == [0, 1, 2, 3]
    assert held["b"][0] is held["a"]
    assert held["b"][1][0].tolist() == [1, 2, 3]
    assert held["b"][1][1] is None
    assert held["c"] == torch.Size([4])
    assert not held["a"].requires_grad


def test_a_state_dictionary_keeps_its_versions() -> None:
    copies = Copies(HostMemory(CPU), CPU)
    given = torch.nn.BatchNorm1d(2).state_dict()
    held = copies.of(given)
    copies.fill()
    assert held._metadata == given._metadata
    assert held is not given
    assert list(held) == list(given)


def test_memory_is_used_again_once_it_was_given_back() -> None:
    memory = HostMemory(CPU)
    first = Copies(memory, CPU)
    one = first.of(torch.ones(3))
    taken = first.fill()
    other = Copies(memory, CPU).of(torch.ones(3))
    assert other.data_ptr() != one.data_ptr()
    memory.give_back(taken)
    again = Copies(memory, CPU).of(torch.ones(3))
    assert again.data_ptr() == one.data_ptr()
    assert Copies(memory, CPU).of(torch.ones(3, 1)).shape == (3, 1)


@pytest.fixture(scope="module")
def written_beside(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    folder = tmp_path_factory.mktemp("snapshots")
    return run_workers(_write_beside, 2, folder, folder)


def test_updates_go_on_beside_the_writing_and_change_nothing_in_it(
    written_beside: list[list[str]],
) -> None:
    assert written_beside == [[], []]


def _write_beside(world: World, folder: Path) -> list[str]:
    """What is wrong with states that were written while updates went on."""
    wrong = []
    for stage, precision in [(0, "bf16"), (1, "bf16"), (2, "fp32"), (3, "bf16")]:
        place = folder / f"{stage}-{precision}"
        engine, _ = make_engine(world, stage, precision)
        for update in range(2):
            _train(engine, world, update, [], [])
        for _ in range(2):  # the second time in the first one's memory
            before, averages = state_of(engine), [engine.averaged(n) for n in range(len(DECAYS))]
            held = engine.hold(len(DECAYS))
            found: list[dict[str, Tensor]] = []

            def save(held=held, found=found, place=place) -> None:
                held.write(place)
                found.extend(held.averaged(which) for which in range(len(DECAYS)))
                held.release()

            thread = threading.Thread(target=save)
            thread.start()
            for update in range(2):
                _train(engine, world, update, [], [])
            thread.join()
        engine.close()
        world.barrier()
        wrong += _differences(world, (stage, precision), place, before)
        wrong += [
            f"{stage} {precision}: average of {name}"
            for expected, got in zip(averages, found, strict=True)
            for name in expected.keys() | got.keys()
            if not torch.equal(expected[name], got[name])
        ]
    return wrong


def _differences(world: World, kind: tuple[int, str], place: Path, before: State) -> list[str]:
    other, _ = make_engine(world, *kind)
    other.restore(place)
    after = state_of(other)
    other.close()
    return [f"{kind}: {one}" for one in after.differences(before)]
