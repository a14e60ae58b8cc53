import pytest

from data_pipeline.shards.columns import digest_of
from data_pipeline.shards.manifest import read_manifest
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.assemble import assemble
from system.train.consumption import Consumption
from system.train.guards.rollback import Rollback
from system.train.loop import open_training_stream


@pytest.fixture
def state(recipe, digits):
    made = assemble(recipe(), World(), read_manifest(digits.url))
    yield made
    made.close()


def consume(state, stream, consumption, batches) -> list[str]:
    """As the loop does, without the updates: take global batches, then write."""
    keys = []
    for _ in range(batches * state.accumulation):
        batch, cursor = next(stream)
        keys += batch.key
        state.progress.images_seen = cursor.images_seen
    consumption.write()
    return keys


def test_intervals_tell_the_digests_of_their_keys_by_epoch(state, tmp_path) -> None:
    length, batch = state.manifest.samples, state.recipe.run.global_batch
    state.progress.images_seen = (length // batch - 1) * batch
    start = state.progress.images_seen
    with Ledger(str(tmp_path), "worker-0", run="tiny") as ledger:
        stream = open_training_stream(state, ledger)
        consumption = Consumption(state, stream, ledger)
        first = consume(state, stream, consumption, 1)
        second = consume(state, stream, consumption, 2)
        consumption.write()
        consumption.write()
    opened, *events = read_ledger(str(tmp_path))
    assert opened["kind"] == "stream_opened"
    assert opened["images_seen"] == start
    assert opened["manifest_digest"] == state.manifest.digest
    assert opened["samples_per_epoch"] == length
    assert int(opened["keys_digest"], 16) == state.manifest.keys_digest
    intervals = [event for event in events if event["kind"] == "consumed"]
    assert [(event["start"], event["stop"]) for event in intervals] == [
        (start, start + batch),
        (start + batch, start + 3 * batch),
    ]
    assert length % batch, "the second interval crosses the epoch's edge"
    within = length - start - batch
    assert intervals[0]["digests"] == {"0": f"{digest_of(first):016x}"}
    assert intervals[1]["digests"] == {
        "0": f"{digest_of(second[:within]):016x}",
        "1": f"{digest_of(second[within:]):016x}",
    }
    counted = [event for event in events if event["kind"] == "data_counted"]
    assert counted[0]["rank"] == 0
    assert counted[0]["counted"]["requests"] >= 1


def test_what_is_passed_over_is_told_with_its_keys_and_their_digests(state, tmp_path) -> None:
    length, batch = state.manifest.samples, state.recipe.run.global_batch
    start = state.progress.images_seen = (length // batch - 1) * batch
    left_out = Rollback(1, start + batch, start + 2 * batch, "a spike")
    with Ledger(str(tmp_path), "worker-0", run="tiny") as ledger:
        whole = open_training_stream(state, ledger)
        due = [next(whole)[0].key for _ in range(3 * state.accumulation)]
        stream = open_training_stream(state, ledger, (left_out,))
        consumption = Consumption(state, stream, ledger)
        first = consume(state, stream, consumption, 1)
        consumption.pass_over("a spike")
        assert state.progress.images_seen == start + 2 * batch
        last = consume(state, stream, consumption, 1)
    assert [tuple(first), tuple(last)] == [due[0], due[2]]
    told = [
        e for e in read_ledger(str(tmp_path)) if e["kind"] in ("consumed", "positions_left_out")
    ]
    assert [(e["start"] - start, e["stop"] - start) for e in told] == [
        (0, batch),
        (batch, 2 * batch),
        (2 * batch, 3 * batch),
    ]
    assert told[1]["keys"] == list(due[1])
    within = length - start - batch
    assert 0 < within < batch, "it crosses the epoch's edge"
    assert told[1]["digests"] == {
        "0": f"{digest_of(due[1][:within]):016x}",
        "1": f"{digest_of(due[1][within:]):016x}",
    }
