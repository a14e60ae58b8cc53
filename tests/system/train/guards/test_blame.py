"""Values that are not finite on one of two workers: no weight moves on either, and who says why."""

import math

import pytest
import torch

from system.foundation.world import World
from system.telemetry.ledger import read_ledger
from system.train.guards.blame import blame
from system.train.guards.blame import reason
from system.train.report import Outcome
from system.train.report import Pass
from tests.gloo import run_workers
from tests.system.train.guards.skipping import POISONED
from tests.system.train.guards.skipping import SLOW_S
from tests.system.train.guards.skipping import run_skipping


@pytest.fixture(scope="module")
def skipped(digits, tmp_path_factory):
    """Where four runs of two workers wrote, and how they ended on the first."""
    root = tmp_path_factory.mktemp("skipped")
    return root, run_workers(run_skipping, 2, root, digits.url, root)[0]


def skips(root, name):
    return [e for e in read_ledger(str(root / name)) if e["kind"] == "skipped_update"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_term_the_worker_and_the_samples_are_named(skipped, digits, precision) -> None:
    (event,) = skips(skipped[0], precision)
    assert event["images_seen"] == 16
    (found,) = event["blame"]
    assert (found["rank"], found["start"], found["stop"]) == (1, 12, 14)
    assert found["start"] <= POISONED < found["stop"]
    assert {"loss/reconstruction", "loss/nll_nats"} <= set(found["terms"])
    assert "loss/total" not in found["terms"], "it says nothing that its terms do not"
    assert len(found["keys"]) == 2
    assert "of worker 1 at positions 12 to 14 (digits" in event["reason"]


def test_it_is_skipped_on_both_and_the_others_are_not(skipped) -> None:
    fp32, bf16, gradient, _ = skipped[1]
    assert fp32.updates == bf16.updates == gradient.updates == 2
    for ended in (fp32, bf16, gradient):
        assert all(weight.isfinite().all() for weight in ended.weights.values())


def test_a_gradient_alone_has_no_worker_to_blame(skipped) -> None:
    (event,) = skips(skipped[0], "gradient")
    assert event["blame"] == []
    assert event["reason"] == "a gradient is not finite, while every term of the loss is"


def test_the_slow_worker_is_named_in_the_report(skipped) -> None:
    (report,) = skipped[1][-1].values.values()
    assert report["throughput/slowest_rank"] == 1
    assert report["throughput/straggler_ratio"] > 1
    assert report["throughput/update_s"] > 2 * SLOW_S


def outcome(*passes: Pass) -> Outcome:
    return Outcome({}, {}, math.inf, 4, 0.0, skipped=True, passes=passes)


def test_only_the_pass_that_is_wrong_is_named_and_the_total_only_by_itself() -> None:
    nan, one = torch.tensor(math.nan), torch.tensor(1.0)
    good = Pass(0, ("a", "b"), {"loss/total": one, "loss/critic": one})
    total = Pass(2, ("c", "d"), {"loss/total": nan, "latent/mean_std": nan})
    critic = Pass(4, ("e",) * 99, {"loss/total": one, "loss/critic": nan})
    found = blame(World(), outcome(critic, good, total))
    assert [(each.terms, each.start, each.stop) for each in found] == [
        (["loss/total"], 2, 4),
        (["loss/critic"], 4, 103),
    ]
    assert len(found[1].keys) == 64
    assert reason(found) == (
        "not finite: loss/total of worker 0 at positions 2 to 4 (c, d), and 1 more passes"
    )
