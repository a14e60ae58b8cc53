import json
import math
from pathlib import Path

import pytest

from system.evaluation.protocol import Latents
from system.evaluation.protocol import Protocol
from system.foundation import storage
from system.foundation.errors import BadInput
from system.observe.report.folder import read_folder
from system.observe.report.folder import wilson
from tests.system.observe.report.conftest import measured
from tests.system.observe.report.conftest import number


def test_numbers_are_read_with_their_uncertainty(run_url):
    run = read_folder(run_url)
    assert run.name == "a run"
    assert [(one.images_seen, one.value) for one in run.course("evaluation/gfid")] == [
        (1000, 9.0), (2000, 3.25),
    ]  # fmt: skip
    newest = run.newest("evaluation/gfid")
    assert newest.corrected == 2.25
    assert newest.interval() == pytest.approx((3.25 - 0.98, 3.25 + 0.98), abs=1e-4)
    assert run.newest("evaluation/recall") is None
    assert list(run.grids) == [1000, 2000]
    assert run.starts[0]["commit"] == "abc123"
    assert run.faults == []


def test_wilson_is_the_textbook_interval():
    # 81 of 263: Newcombe 1998, table I, method 3 (0.2553, 0.3662); 0 of 20: (0, 0.1611).
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_share_has_wilsons_interval_and_a_plain_number_none():
    assert number("bayes_accuracy", 0.9).interval() == wilson(0.9, 400)
    assert number("bayes_accuracy", 0.9, standard_error=1e-3).interval() == wilson(0.9, 400)
    wide = number("nearest_share", 0.03, standard_error=0.02).interval()
    assert wide == pytest.approx((0.0, 0.03 + 0.0392), abs=1e-4)
    assert number("rfid", 0.9).interval() is None


def test_a_curve_is_of_one_protocol(run_url, evaluated):
    evaluated("000000002000-other.json", 2000, {"evaluation/gfid": measured(70.0, "e" * 32)})
    run = read_folder(run_url)
    assert [one.value for one in run.course("evaluation/gfid")] == [9.0, 3.25]
    assert run.left_out("evaluation/gfid") == 1


def test_what_is_torn_damaged_or_absent_is_named_and_the_rest_is_read(run_url):
    run = Path(run_url)
    with (run / "ledger" / "driver.jsonl").open("a") as ledger:
        ledger.write('{"time": 3, "kind": "rep\n')
    (run / "eval" / "000000003000-digits.json").write_text('{"images_seen": 3000, "measu')
    (run / "eval" / "000000003000-list.json").write_text("[1, 2]")
    nan = measured(math.nan)
    (run / "eval" / "000000004000-digits.json").write_text(
        json.dumps({"images_seen": 4000, "measurements": {"evaluation/rfid": nan}})
    )
    (run / "provenance.json").unlink()
    found = read_folder(run_url)
    told = "\n".join(found.faults)
    assert "ledger: passed over 1 torn lines" in told
    assert "eval/000000003000-digits.json: not a record" in told
    assert "eval/000000003000-list.json: not a record" in told
    assert "evaluation/rfid is nan" in told
    assert "provenance.json: missing" in told
    assert len(found.course("evaluation/gfid")) == 2
    assert len(found.happened("report")) == 2


def test_any_url_serves(run_url):
    for name in storage.list_names(storage.join(run_url, "eval")):
        content = storage.read_bytes(storage.join(run_url, "eval", name))
        storage.write_bytes(f"memory://report-run/eval/{name}", content)
    run = read_folder("memory://report-run")
    assert run.newest("evaluation/gfid").value == 3.25
    assert "recipe.yaml: missing" in run.faults


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="expected the folder of a run"):
        read_folder(str(tmp_path))


def test_a_protocol_is_held_to_its_digest():
    content = dict.fromkeys(Protocol.model_fields) | {
        "preset": "digits",
        "metric": "bits_per_dim",
        "samples": 3,
        "reference": "held out",
        "compute_dtype": "float32",
        "latents": Latents(draws=1, seed=0).model_dump(),
    }
    digest = Protocol.model_validate(content).digest
    one = number("rfid", 1.0, protocol=content)
    assert one.is_as_digested is False
    assert type(one)(one.name, 1.0, 1, "x", content, digest).is_as_digested is True
    assert number("rfid", 1.0, protocol={"old": 1}).is_as_digested is None
