"""Events are written once each, whoever writes them, and read back equal."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from system.campaign.ledger import CampaignLedger
from system.campaign.ledger import Ended
from system.campaign.ledger import Launched
from system.campaign.ledger import Observed
from system.campaign.ledger import Proposed
from system.campaign.ledger import Stopped
from system.foundation import storage
from system.foundation.errors import StorageError

ENDED = Ended(job="j", exit_code=None, seconds=1.5, images_seen=64, value=0.1 + 0.2)
EVENTS = [
    Stopped(time=1.25),
    Observed(time=2.0, capacity=None, ended=(ENDED,)),
    Proposed(time=2.0, trial="t", run="r", draw=0, overrides={"a.b": 1, "c": 1.0, "d": True}),
    Launched(time=2.0, job="j", run="r", rung=0, images=64, allowed_s=1 / 3),
]


def test_what_is_written_is_read_whoever_reads(tmp_path):
    ledger, other = CampaignLedger(str(tmp_path), "c"), CampaignLedger(str(tmp_path), "c")
    assert ledger.read() == ()
    assert all(ledger.append(event) for event in EVENTS)
    assert list(other.read()) == list(ledger.read()) == EVENTS
    overrides = other.read()[2].overrides
    assert [type(each) for each in overrides.values()] == [int, float, bool]
    assert (tmp_path / "campaigns/c/events/00000003.json").exists()


def test_of_two_that_write_the_same_number_one_does(tmp_path):
    ledgers = [CampaignLedger(str(tmp_path), "c") for _ in range(8)]
    for round_number in range(5):
        for ledger in ledgers:
            assert len(ledger.read()) == round_number
        with ThreadPoolExecutor(8) as writers:
            written = list(writers.map(lambda each: each.append(EVENTS[0]), ledgers))
        assert sum(written) == 1
    assert len(ledgers[0].read()) == 5


def test_whoever_has_not_read_the_newest_writes_nothing(tmp_path):
    early, late = CampaignLedger(str(tmp_path), "c"), CampaignLedger(str(tmp_path), "c")
    assert early.append(EVENTS[0])
    assert not late.append(EVENTS[1])
    late.read()
    assert late.append(EVENTS[1])


def test_damage_is_told_of(tmp_path):
    ledger = CampaignLedger(str(tmp_path), "c")
    for event in EVENTS:
        ledger.append(event)
    place = f"{tmp_path}/campaigns/c/events/00000001.json"
    storage.write_bytes(place, b'{"kind": "observed"}')
    with pytest.raises(StorageError, match="00000001"):
        CampaignLedger(str(tmp_path), "c").read()
    storage.remove(place)
    with pytest.raises(StorageError, match="gaps"):
        CampaignLedger(str(tmp_path), "c").read()
