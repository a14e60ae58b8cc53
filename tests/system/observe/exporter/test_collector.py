"""Reading on in a thread, and answering from what was read, whatever storage does."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest

from system.foundation import storage
from system.foundation.errors import StorageError
from system.observe import leaderboard
from system.observe.exporter.collector import FleetCollector
from system.observe.exporter.collector import families
from system.observe.exporter.samples import Sample
from system.telemetry.ledger import Ledger
from tests.system.observe.exporter.test_samples import board


def shown(collector: FleetCollector) -> dict[str, float]:
    collected = CollectorRegistry(auto_describe=False)
    collected.register(collector)
    lines = generate_latest(collected).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def write(root, name: str, **values: float) -> None:
    with Ledger(str(root / name), "worker-0", run=name, attempt=1) as ledger:
        ledger.write("report", images_seen=5, values={"loss/total": 1.0, **values})


def test_runs_and_campaigns_as_they_grow(tmp_path):
    write(tmp_path, "a")
    leaderboard.write(str(tmp_path), board())
    collector = FleetCollector(str(tmp_path), clock=lambda: 500.0)
    assert shown(collector) == {"latent_flows_exporter_failed_reads_total": 0.0}
    assert collector.read()
    found = shown(collector)
    assert found['latent_flows_loss_total{run="a"}'] == 1.0
    assert found['latent_flows_campaign_value{campaign="c",run="c-a",trial="a"}'] == 1.0
    assert found["latent_flows_exporter_runs"] == 1
    assert found["latent_flows_exporter_last_read_time_s"] == 500.0
    assert found["latent_flows_exporter_disk_free_bytes"] > 0
    write(tmp_path, "a", **{"train/updates": 7.0})
    collector.read()
    assert shown(collector)['latent_flows_train_updates{run="a"}'] == 7.0


def test_storage_that_is_away_leaves_the_last_numbers_and_is_counted(tmp_path, monkeypatch):
    write(tmp_path, "a")
    now = [100.0]
    collector = FleetCollector(str(tmp_path), clock=lambda: now[0])
    collector.read()

    def away(url: str) -> list[str]:
        raise StorageError("away")

    with monkeypatch.context() as storm:
        storm.setattr(storage, "list_names", away)
        now[0] = 900.0
        assert not collector.read()
        found = shown(collector)
        assert found['latent_flows_loss_total{run="a"}'] == 1.0
        assert found["latent_flows_exporter_last_read_time_s"] == 100.0
        assert found["latent_flows_exporter_failed_reads_total"] == 1
    assert collector.read()
    assert shown(collector)["latent_flows_exporter_last_read_time_s"] == 900.0


def test_one_run_that_cannot_be_read_is_counted_and_hides_no_other(tmp_path, monkeypatch):
    write(tmp_path, "a")
    write(tmp_path, "b")
    collector, real = FleetCollector(str(tmp_path)), storage.list_sizes
    collector.read()

    def fails(url: str) -> dict[str, int]:
        if "/a/" in url:
            raise StorageError("away")
        return real(url)

    monkeypatch.setattr(storage, "list_sizes", fails)
    assert collector.read()
    found = shown(collector)
    assert found["latent_flows_exporter_unreadable_runs"] == 1
    assert found['latent_flows_loss_total{run="a"}'] == found['latent_flows_loss_total{run="b"}']


def test_a_sample_that_nobody_registered_is_a_mistake():
    with pytest.raises(KeyError):
        list(families([Sample("run/nothing", 1.0)]))
    with pytest.raises(AssertionError):
        list(families([Sample("run/restarts", 1.0)]))


def test_it_follows_until_it_is_stopped(tmp_path):
    collector = FleetCollector(str(tmp_path))
    collector.stop()
    collector.follow(0.01)
