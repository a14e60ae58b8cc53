import pytest

from data_pipeline.decoding.assembly import Assembled
from data_pipeline.decoding.host_batches import HostBatch
from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.stream.account import Account
from system.foundation.errors import DataError

BAD = BadEntry("k", "not an image", "url bytes 0-9", 4)


def batch(*parts, restarts=()):
    return HostBatch(0, None, None, parts, dict(restarts))


def test_what_a_rank_met_is_summed(digits, digits_data):
    told = []
    data = digits_data(max_bad_fraction=0.5)
    account = Account(digits, data, told.append)
    account.add(batch(Assembled(["a", "b"], [(3, 2**64 - 1)], [], {"requests": 2})))
    account.add(
        batch(
            Assembled(["c"], [(3, 3)], [BAD], {"requests": 1, "retries": 1}),
            Assembled(["d"], [(4, 4)], [], {}),
            restarts={"died: signal 9": 1},
        )
    )
    assert account.images == 4
    assert account.take_digests() == {3: 2, 4: 4}
    assert account.take_digests() == {}
    assert account.bad == {"not an image": 1}
    assert account.counted == {"requests": 3, "retries": 1, "process died: signal 9": 1}
    assert told == [BAD]


def test_the_bound_is_over_an_epoch_at_first(digits, digits_data):
    account = Account(digits, digits_data(max_bad_fraction=2.5 / digits.samples), None)
    for _ in range(2):
        account.add(batch(Assembled(["a"], [(0, 0)], [BAD], {})))
    with pytest.raises(
        DataError, match=r"url bytes 0-9: k cannot be used .* 3 of 3 samples"
    ) as caught:
        account.add(batch(Assembled(["a"], [(0, 0)], [BAD], {})))
    named = f"`python jobs/verify_shards.py {digits_data().shards}` names them"
    assert f"remove the damaged shards ({named}) and pack again" in str(caught.value)


def test_the_bound_holds_for_all_ranks_together(digits, digits_data):
    account = Account(digits, digits_data(max_bad_fraction=0.01), None)
    few, more = int(0.01 * digits.samples), int(0.01 * digits.samples) + 1
    account.check(few, 1)
    account.check(more, 100 * more)
    account.add(batch(Assembled(["a"], [(0, 0)], [BAD], {})))
    with pytest.raises(DataError, match=rf"{more} of 200 samples .*'not an image': 1"):
        account.check(more, 200)
