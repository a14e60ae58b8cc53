import pytest

from system.evaluation.evaluator import evaluate
from system.evaluation.outcome import evaluate_on_record
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger

pytestmark = pytest.mark.usefixtures("detector")


def test_numbers_reach_the_caller_and_the_ledger(commit, recipe, root, tmp_path):
    url, run = commit(recipe), str(root / tmp_path.name)
    found = evaluate_on_record(url, recipe, output=run, attempt=3)
    expected = evaluate(url, recipe, output=run)
    timing = "evaluation/seconds_s"
    assert {**found, timing: 0} == {**expected, timing: 0}
    (event,) = read_ledger(run)
    assert event["kind"] == "evaluation"
    assert event["images_seen"] == 2560
    assert event["attempt"] == 3
    assert event["values"] == found


def test_a_failure_is_on_record_and_never_raised(commit, recipe, root, tmp_path):
    url, run = commit(recipe), str(root / tmp_path.name)
    with open(f"{url}/averaged.safetensors", "ab") as file:
        file.write(b"torn")
    found = evaluate_on_record(url, recipe, output=run)
    assert found == {}
    (event,) = read_ledger(run)
    assert event["kind"] == "evaluation_failed"
    assert event["images_seen"] == 2560
    assert "CheckpointError" in event["error"]
    assert "read_averaged" in event["trace"]


def test_what_has_come_to_its_end_is_left_at_that(commit, recipe, root, tmp_path):
    """A watcher that is lost between the record and its return is started again."""
    url, run = commit(recipe), str(root / tmp_path.name)
    found = evaluate_on_record(url, recipe, output=run, attempt=1)
    assert found
    assert evaluate_on_record(url, recipe, output=run, attempt=1) == found
    assert evaluate_on_record(url, recipe, output=run, attempt=2) == found
    assert len(read_ledger(run)) == 1


@pytest.mark.parametrize("end", ["evaluation_failed", "evaluation_dropped"])
def test_what_was_given_up_is_tried_again_under_another_driver(
    end, commit, recipe, root, tmp_path
):  # fmt: skip
    url, run = commit(recipe), str(root / tmp_path.name)
    with Ledger(run, "watch", run="tiny", attempt=1) as ledger:
        ledger.write("driver_started")
        ledger.write(end, images_seen=2560)
        assert evaluate_on_record(url, recipe, output=run, attempt=1) == {}
        assert len(read_ledger(run)) == 2
        ledger.write("driver_started")
        ledger.write(end, images_seen=1280)
    assert evaluate_on_record(url, recipe, output=run, attempt=1)
