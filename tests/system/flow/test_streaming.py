"""Streamed batches are those drawn one after the other, and were under way at once."""

import threading
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn

from system.flow.flow import Flow
from system.flow.sampler import draw
from system.flow.streaming import Batch
from system.flow.streaming import Gates
from system.flow.streaming import streamed
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import Sampler

PATIENCE = 20  # seconds until a test gives up what will not come
TOKENS = Sampler(guidance=0.7, guidance_rule="linear", guidance_blocks="all")
JACOBI = Sampler(
    guidance=0.7, decoding="jacobi", jacobi_blocks="all", jacobi_chunk=3, jacobi_tolerance=1e-6
)
PLAIN = Sampler(guidance=0.0)


@pytest.fixture(autouse=True)
def _one_thread_each() -> Iterator[None]:
    """As evaluation draws; several threads with several more each would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batches(flow: Flow, number: int = 5) -> list[Batch]:
    """Each with noise and classes of its own."""
    generator = torch.Generator().manual_seed(3)
    weights = next(flow.parameters())
    shape = (2, flow.side**2, flow.token_width)
    kind = torch.promote_types(weights.dtype, torch.float32)
    return [
        Batch(
            torch.randn(shape, generator=generator, dtype=kind).to(weights.device),
            (torch.tensor([place, 3]) % flow.classes).to(weights.device),
        )
        for place in range(number)
    ]


def possible(settings: Sampler, flow: Flow) -> Sampler:
    """The settings; without classes, guidance leads away from another temperature."""
    if flow.shape.is_conditional:
        return settings
    other = {"guidance_against": "temperature", "attention_temperature": 0.5}
    return settings.model_copy(update=other)


def one_by_one(flow: Flow, given: list[Batch], settings: Sampler) -> list[torch.Tensor]:
    return [draw(flow, each.noise, each.label, settings).tokens for each in given]


def drawing_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("draw")]


@pytest.mark.parametrize("settings", [TOKENS, JACOBI], ids=["tokens", "jacobi"])
def test_they_are_bit_for_bit_those_drawn_one_after_the_other(
    make_flow: Callable[..., Flow], family: dict[str, Any], settings: Sampler
) -> None:
    flow = make_flow(depths=(1, 1, 2), **family).float()
    settings = possible(settings, flow)
    given = batches(flow, 4)
    expected = [draw(flow, each.noise, each.label, settings) for each in given]
    for in_flight in (1, 2, 3):
        found = [*streamed(flow, given, settings, in_flight=in_flight)]
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.tokens, other.tokens)
            assert one.passes == other.passes
            assert not one.tokens.requires_grad
        assert not drawing_threads()


class Watched(nn.Module):
    """A block that tells when a batch is in it."""

    def __init__(self, block: nn.Module, inside: Callable[[], None]) -> None:
        super().__init__()
        self.block = block
        self.inside = inside

    def decoded(self, *args: Any) -> Any:
        self.inside()
        return self.block.decoded(*args)


def watch(flow: Flow, index: int, inside: Callable[[], None]) -> None:
    """Call `inside` whenever a batch has entered the block."""
    flow.blocks[index] = Watched(flow.blocks[index], inside)


@pytest.mark.parametrize("in_flight", [2, 3])
def test_a_batch_is_in_an_early_block_while_the_one_before_is_in_a_late_one(
    make_flow: Callable[..., Flow], in_flight: int
) -> None:
    """As many batches as may be under way meet, each in a block of its own: none leaves before all
    are there, so one after the other they would wait for ever."""
    flow = make_flow(depths=(1, 1, 1))
    given = batches(flow, in_flight)
    expected = one_by_one(flow, given, PLAIN)
    met = threading.Barrier(in_flight, timeout=PATIENCE)
    for index in range(3):
        # Batch n is met in block n + (3 - in_flight), the deep one last: all are there at once.
        numbers = count()
        meets = index - (3 - in_flight)

        def inside(numbers: Iterator[int] = numbers, meets: int = meets) -> None:
            if next(numbers) == meets:
                met.wait()

        watch(flow, index, inside)
    found = [each.tokens for each in streamed(flow, given, PLAIN, in_flight=in_flight)]
    assert all(map(torch.equal, found, expected))
    assert not met.broken


class Log:
    """Which batch was where, in the order of happening."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []  # what, block, batch
        self.within = 0  # batches that are in some block now
        self.most = 0
        self._lock = threading.Lock()

    def tell(self, what: str, block: int, batch: int) -> None:
        with self._lock:
            self.events.append((what, block, batch))
            self.within += 1 if what == "enters" else -1
            self.most = max(self.most, self.within)


def test_batches_pass_every_block_in_their_order_and_one_at_a_time() -> None:
    """Gates alone, with batches that come to them in the wrong order as soon as they may."""
    blocks, number = 3, 6
    gates, log = Gates(blocks), Log()

    def passes(batch: int) -> None:
        turn = gates.turn(batch)
        for block in reversed(range(blocks)):
            with turn(block):
                log.tell("enters", block, batch)
                threading.Event().wait(0.002)
                log.tell("leaves", block, batch)

    threads = [threading.Thread(target=passes, args=(batch,)) for batch in reversed(range(number))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for block in range(blocks):
        seen = [(what, batch) for what, at, batch in log.events if at == block]
        assert seen == [(what, batch) for batch in range(number) for what in ("enters", "leaves")]
    assert 1 < log.most <= blocks


def test_no_more_are_under_way_than_shall_be_and_they_are_asked_for_as_room_becomes_free(
    make_flow: Callable[..., Flow],
) -> None:
    flow, asked, given = make_flow(), [], 0

    def asking() -> Iterator[Batch]:
        for place, batch in enumerate(batches(flow, 7)):
            asked.append(place)
            assert place - given < 2
            yield batch

    for drawn in streamed(flow, asking(), PLAIN, in_flight=2):
        assert drawn.tokens.isfinite().all()
        given += 1
    assert asked == [*range(7)]


@pytest.mark.parametrize("in_flight", [2, 3])
def test_an_error_comes_in_its_turn_with_its_own_type_and_ends_all(
    make_flow: Callable[..., Flow], in_flight: int
) -> None:
    flow = make_flow(depths=(1, 1, 1))
    given = batches(flow, 6)
    expected = one_by_one(flow, given, PLAIN)
    numbers = count()

    def inside() -> None:
        if next(numbers) == 3:
            raise BadInput("the fourth batch in the middle block")

    watch(flow, 1, inside)
    found: list[torch.Tensor] = []
    stream = streamed(flow, given, PLAIN, in_flight=in_flight)
    with pytest.raises(BadInput, match="fourth batch"):
        found.extend(each.tokens for each in stream)
    assert len(found) == 3
    assert all(map(torch.equal, found, expected[:3]))
    assert not drawing_threads()


def test_what_the_sampler_refuses_is_refused(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    given = [Batch(each.noise, None) for each in batches(flow)]
    with pytest.raises(BadInput, match="for no class"):
        next(streamed(flow, given, TOKENS, in_flight=2))
    assert not drawing_threads()


def test_an_error_of_whoever_gives_the_batches_ends_the_threads(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow()

    def giving() -> Iterator[Batch]:
        yield from batches(flow, 2)
        raise BadInput("no more noise")

    with pytest.raises(BadInput, match="no more noise"):
        list(streamed(flow, giving(), PLAIN, in_flight=2))
    assert not drawing_threads()


def test_who_stops_early_waits_for_the_blocks_under_way_and_no_other_is_entered(
    make_flow: Callable[..., Flow],
) -> None:
    flow, entered = make_flow(depths=(1, 1, 1)), list[int]()
    held, go_on = threading.Event(), threading.Event()

    def inside(index: int) -> None:
        entered.append(index)
        if index == 1 and entered.count(1) == 2:  # the second batch, in the midst
            held.set()
            assert go_on.wait(PATIENCE)

    for index in range(3):
        watch(flow, index, partial(inside, index))
    stream = streamed(flow, batches(flow, 50), PLAIN, in_flight=2)
    first = threading.Thread(target=next, args=(stream,))
    first.start()
    assert held.wait(PATIENCE)
    first.join(PATIENCE)
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    go_on.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert not drawing_threads()
    assert entered.count(0) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [TOKENS, JACOBI], ids=["tokens", "jacobi"])
def test_on_streams_with_replayed_graphs_they_are_the_same_bits(
    make_flow: Callable[..., Flow], family: dict[str, Any], settings: Sampler
) -> None:
    flow = make_flow(side=4, depths=(1, 1, 2), **(family | {"width": 64, "head_width": 32}))
    flow = flow.to("cuda", torch.float32)
    settings = possible(settings, flow)
    given = batches(flow, 8)
    expected = one_by_one(flow, given, settings)
    for in_flight in (2, 3):
        # Read at once on the caller's stream, as whoever decodes them does.
        found = [each.tokens + 0 for each in streamed(flow, given, settings, in_flight=in_flight)]
        assert all(map(torch.equal, found, expected))
