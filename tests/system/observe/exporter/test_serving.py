"""The exporter as Prometheus meets it."""

import socket
import urllib.request

import pytest

from system.foundation.errors import BadInput
from system.observe.exporter.serving import Exporting
from system.observe.exporter.serving import serving
from system.telemetry.ledger import Ledger


def test_it_answers_on_loopback_and_reads_on(tmp_path):
    with Ledger(str(tmp_path / "a"), "worker-0", run="a", attempt=1) as ledger:
        ledger.write("report", images_seen=5, values={"loss/total": 1.0})
    with serving(Exporting(root=str(tmp_path), port=0, every_s=0.1)) as url:
        assert url.startswith("http://127.0.0.1:")
        for _ in range(600):
            with urllib.request.urlopen(url) as answer:
                text = answer.read().decode()
            if 'latent_flows_loss_total{run="a"} 1.0' in text:
                break
    assert 'latent_flows_loss_total{run="a"} 1.0' in text
    assert "# TYPE latent_flows_run_restarts_total counter" in text


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(BadInput, match=f"127.0.0.1:{port}"),
            serving(Exporting(root=str(tmp_path), port=port)),
        ):
            pass


def test_it_binds_loopback_unless_asked():
    assert Exporting().host == "127.0.0.1"
