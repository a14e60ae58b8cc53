import time

import pytest
import torch

from system.foundation.world import World
from system.train.report import Outcome
from system.train.report import Window


def outcome(loss: float, *, skipped: bool = False, update: int = 1) -> Outcome:
    means = {"loss/total": torch.tensor(loss)}
    numbers = {"train/updates": float(update)}
    return Outcome(means, numbers, loss * 10, images=8, data_wait_s=0.25, skipped=skipped)


def test_means_are_over_updates_and_numbers_are_the_last() -> None:
    window = Window(World())
    window.add(outcome(1.0, update=1))
    window.add(outcome(3.0, update=2))
    values = window.read()
    assert values["loss/total"] == 2.0
    assert values["train/gradient_norm"] == 20.0
    assert values["train/updates"] == 2
    assert values["throughput/data_wait_s"] == 0.25


def test_a_skipped_update_adds_nothing_to_the_means() -> None:
    window = Window(World())
    window.add(outcome(1.0))
    window.add(outcome(float("nan"), skipped=True, update=7))
    assert window.images_counted == 8
    values = window.read()
    assert values["loss/total"] == 1.0
    assert values["train/updates"] == 7


def test_only_skipped_updates_leave_no_means() -> None:
    window = Window(World())
    window.add(outcome(float("nan"), skipped=True))
    values = window.read()
    assert "loss/total" not in values
    assert "train/gradient_norm" not in values


def test_a_report_over_nothing_but_what_was_left_out_has_a_pace_of_zero() -> None:
    values = Window(World()).read()
    assert values["throughput/images_per_s"] == values["throughput/data_wait_s"] == 0
    assert "loss/total" not in values


def test_what_a_window_has_spent_so_far() -> None:
    window = Window(World())
    window.add(outcome(1.0))
    with window.standing_still():
        time.sleep(0.05)
    spent = window.spent
    assert spent["data_wait_s"] == 0.25
    assert 0 <= spent["seconds"] <= time.monotonic() - window._start - 0.05


def test_a_window_starts_anew_once_read() -> None:
    window = Window(World())
    window.add(outcome(1.0))
    window.read()
    window.add(outcome(5.0))
    assert window.read()["loss/total"] == 5.0


def test_a_term_that_begins_later_counts_from_there() -> None:
    window = Window(World())
    window.add(outcome(1.0))
    late = outcome(1.0)
    late.means["loss/critic"] = torch.tensor(4.0)
    window.add(late)
    assert window.read()["loss/critic"] == 4.0


def test_standing_still_is_not_the_updates_time() -> None:
    window = Window(World())
    window.add(outcome(1.0))
    with window.standing_still():
        time.sleep(0.2)
    values = window.read()
    assert values["throughput/checkpoint_s"] == pytest.approx(0.2, abs=0.1)
    assert values["throughput/update_s"] < 0.1
    window.add(outcome(1.0))
    assert "throughput/checkpoint_s" not in window.read()
