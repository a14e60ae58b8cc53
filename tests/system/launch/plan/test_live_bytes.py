import pytest
import torch

from system.launch.plan.live_bytes import LiveBytes


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_storage_counts_once_from_its_making_until_it_is_let_go(device) -> None:
    with LiveBytes() as live:
        one = torch.empty(1000, device=device)
        assert live.now == 4000
        view = one.view(10, 100)[3:]
        assert live.now == 4000
        other = one + 1
        assert live.now == 8000
        del one
        assert live.now == 8000  # the view holds it
        del view
        assert live.now == 4000
        del other
        assert live.now == 0
    assert live.peak == 8000


def test_what_autograd_keeps_is_alive_until_the_graph_goes() -> None:
    weight = torch.ones(100, requires_grad=True)
    with LiveBytes() as live:
        loss = weight.exp().sin().sum()
        assert live.now == 400 + 4  # what the exponential said; the sine's is needed no more
        loss.backward()
        del loss
        assert live.now == 400  # the gradient
        assert live.peak >= 2 * 400


def test_what_was_there_before_can_be_left_out() -> None:
    before = torch.ones(100)
    with LiveBytes() as live:
        live.leave_out([before])
        before.view(10, 10).add_(1)
        assert live.now == 0
        live.watch([torch.ones(10), before])
        assert live.peak == 40


def test_one_kind_of_device_can_be_followed() -> None:
    with LiveBytes("meta") as live:
        here = torch.ones(100)
        there = torch.empty(10, device="meta")
        assert live.now == 40
    assert len(here) > len(there)


def test_a_storage_that_grows_counts_as_it_is() -> None:
    with LiveBytes() as live:
        tensor = torch.empty(10)
        tensor.resize_(1000)
        assert live.now == 4000
        live.start_over()
        tensor.set_(torch.empty(5))
        assert live.peak < 2 * 4000


def test_the_peak_starts_over_from_what_is_alive() -> None:
    with LiveBytes() as live:
        kept = torch.empty(10)
        torch.empty(1000)
        live.start_over()
        assert live.peak == live.now == kept.nbytes
