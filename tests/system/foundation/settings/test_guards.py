import pytest
from pydantic import ValidationError

from system.foundation.settings.guards import Guards
from system.foundation.settings.guards import Hangs
from system.foundation.settings.guards import Spikes


def test_all_of_it_can_be_switched_off() -> None:
    off = Guards.model_validate(
        {
            "spikes": {"on_spike": "ignore"},
            "collapse": {"signal_to_noise": 0, "reports": 0},
            "hangs": {"on_hang": "ignore"},
        }
    )
    assert off.spikes.on_spike == off.hangs.on_hang == "ignore"


@pytest.mark.parametrize("values", [{"odd_updates": 0}, {"loss_deviations": 0}, {"window": 8}])
def test_a_watch_that_makes_no_sense_is_refused(values) -> None:
    with pytest.raises(ValidationError):
        Spikes.model_validate(values)


def test_a_hang_is_longer_than_what_is_waited_for_elsewhere() -> None:
    assert Hangs().least_s > 600, "data.stall_timeout_s and DeepSpeed's collectives come first"
