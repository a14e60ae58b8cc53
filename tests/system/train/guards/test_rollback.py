import pytest

from system.foundation.errors import NumericsError
from system.foundation.errors import RolledBack
from system.foundation.settings.guards import Spikes
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.guards.rollback import Rollback
from system.train.guards.rollback import exclusion_of
from system.train.guards.rollback import known_normal
from system.train.guards.rollback import known_rollbacks
from system.train.guards.rollback import left_out
from system.train.guards.rollback import rollbacks_in
from system.train.guards.rollback import taint
from system.train.guards.rollback import take_back
from system.train.guards.spikes import Reading
from system.train.guards.spikes import Spike

TERMS = frozenset({"loss/total", "loss/nll_nats"})
NORMAL = tuple(Reading(8 * n, 2.0 + n, 0.5, TERMS) for n in range(6))
BACK = Rollback(2, 32, 48, "the loss was 9", NORMAL)


def test_what_is_written_down_is_what_is_known_then(tmp_path) -> None:
    spike = Spike(32, 48, "the loss was 9")
    with Ledger(str(tmp_path), "worker-0", run="tiny", attempt=2) as ledger:
        with pytest.raises(RolledBack, match=r"positions 32 to 48.*\(time 1 of 5 allowed\)"):
            take_back(spike, NORMAL, spikes=Spikes(), earlier=0, ledger=ledger)
        with pytest.raises(RolledBack):
            take_back(spike, NORMAL, spikes=Spikes(), earlier=0, ledger=None)
        assert known_rollbacks(World(), ledger) == (BACK,)


def test_past_the_limit_it_is_an_error_that_no_restart_helps(tmp_path) -> None:
    with Ledger(str(tmp_path), "worker-0", run="tiny") as ledger:
        with pytest.raises(NumericsError, match=r"guards\.spikes\.max_rollbacks"):
            take_back(
                Spike(0, 8, "so"), (), spikes=Spikes(max_rollbacks=2), earlier=2, ledger=ledger
            )
        assert known_rollbacks(World(), ledger) == ()


@pytest.mark.parametrize(
    ("images_seen", "attempt", "tainted"),
    [(32, 2, False), (24, 1, False), (40, 2, True), (40, 1, True), (800, 2, True), (40, 3, False)],
)
def test_checkpoints_from_behind_the_spikes_beginning_are_tainted(
    images_seen, attempt, tainted
) -> None:
    assert (taint((BACK,), images_seen, attempt) is not None) is tainted
    assert taint((), images_seen, attempt) is None


def test_a_batch_is_left_out_for_the_reason_that_is_known() -> None:
    rollbacks = (BACK, Rollback(3, 80, 88, "the gradient"))
    assert exclusion_of(rollbacks).spans == ((32, 48), (80, 88))
    assert left_out(rollbacks, 40, 48) == "the loss was 9"
    assert left_out(rollbacks, 80, 88) == "the gradient"
    assert left_out(rollbacks, 48, 56) is None


def test_what_was_normal_is_known_on_the_way_to_the_spike() -> None:
    assert known_normal((), 16) == []
    assert known_normal((BACK,), 16) == list(NORMAL[:2])
    assert known_normal((BACK,), 48) == list(NORMAL)
    assert known_normal((BACK,), 56) == []


def test_a_batch_that_was_given_up_is_left_out_and_taints_nothing() -> None:
    events = [
        {"kind": "failure_decided", "action": "skip", "position": 64, "reason": "a poison batch"},
        {"kind": "failure_decided", "action": "restart", "reason": "lost"},
        {"kind": "report"},
    ]
    (given_up,) = rollbacks_in(events)
    assert left_out((given_up,), 64, 72) == "a poison batch"
    assert left_out((given_up,), 56, 64) is None
    assert taint((given_up,), 80, 1) is None
    assert known_normal((BACK, given_up), 16) == list(NORMAL[:2])
