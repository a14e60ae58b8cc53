"""A run goes on with fewer workers and with more: on the same samples, with the same losses."""

from pathlib import Path

import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.telemetry.ledger import read_ledger
from tests.faults.lives import BATCH
from tests.faults.lives import TOTAL
from tests.faults.lives import Case
from tests.faults.lives import live_for
from tests.gloo import run_workers
from tests.system.train.trials import Ended

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

CASES: list[Case] = [(1, "bf16"), (2, "fp32"), (3, "bf16")]  # each of DeepSpeed's optimisers
# Each life's workers, and the images after which it ends: in the midst of an epoch of 60.
LIVES = [(2, 24), (1, 48), (3, 84), (2, TOTAL)]
# Relative to the run of one size. The first loss after a change is of the same weights. After that
# sums over other workers and passes round differently, and every update builds on the ones before.
FIRST = {"fp32": 1e-6, "bf16": 1e-5}
ALL = {"fp32": 1e-5, "bf16": 5e-3}  # found: 8e-8 and 1.2e-3

matrix = pytest.mark.parametrize("case", CASES, ids=lambda case: f"zero{case[0]}-{case[1]}")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[Case, Ended]], Path]:
    """How each run ended with two workers all along; then after each of the lives, and where."""
    folder = tmp_path_factory.mktemp("resize")
    shards = str(folder / "digits")
    pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    ended = [run_workers(live_for, 2, folder, shards, folder / "whole", CASES, 1, TOTAL)[0]]
    for attempt, (workers, stop) in enumerate(LIVES, start=1):
        given = (shards, folder / "resized", CASES, attempt, stop)
        ended.append(run_workers(live_for, workers, folder, *given)[0])
    return ended, folder / "resized"


@matrix
def test_every_sample_once(lived, case) -> None:
    url = f"{lived[1]}/{case[0]}-{case[1]}/tiny"
    proof, text = audit(Audit(run=url))
    assert proof.holds, text
    assert [event["images_seen"] for event in read_ledger(url) if event["kind"] == "resumed"] == [
        stop for _, stop in LIVES[:-1]
    ]


@matrix
def test_the_losses_of_a_run_of_one_size(lived, case) -> None:
    whole, *lives = [ended[case] for ended in lived[0]]
    values = {images: found for life in lives for images, found in life.values.items()}
    assert values.keys() == whole.values.keys() == set(range(BATCH, TOTAL + 1, BATCH))
    assert lives[-1].updates == whole.updates == TOTAL // BATCH
    for name in ("loss/total", "loss/nll_nats", "loss/critic"):
        apart = {
            images: abs(found[name] / whole.values[images][name] - 1)
            for images, found in values.items()
            if name in found
        }
        print(name, {images: f"{each:.1e}" for images, each in apart.items()})
        assert max(apart.values()) < ALL[case[1]], name
        assert apart[LIVES[0][1] + BATCH] < FIRST[case[1]], name
