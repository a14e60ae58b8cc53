"""Numbers of the ledger at the port that a Prometheus would scrape, on a real Ray."""

import time
import urllib.request

import pytest

from system.telemetry.metric import prometheus_name
from tests.system.launch.conftest import start_program

PROGRAM = """
import time, ray
from system.launch.prometheus_sink import PrometheusSink
ray.init(logging_level="ERROR")
sink = PrometheusSink("digits")
values = {"evaluation/gfid": 2.5, "evaluation/rfid": float("nan")}
sink.show({"kind": "evaluation", "images_seen": 640, "values": values})
sink.show({"kind": "checkpoint", "images_seen": 9999})
sink.show({"kind": "goodput", "images_seen": 640, "values": {"goodput/share": 0.75}})
sink.show({"kind": "report", "values": {}})
[node] = ray.nodes()
print(node["NodeManagerAddress"], node["MetricsExportPort"], sink.failures, flush=True)
input()
"""
PATIENCE = 60


@pytest.mark.ray
def test_newest_numbers_are_scraped(ray_here):

    where = ray_here.environment | {"RAY_ADDRESS": ray_here.address}
    program = start_program("-c", PROGRAM, **where)
    try:
        line = program.stdout.readline().split()
        address, port, failures = line
        assert failures == "1"  # a report without its images_seen
        wanted = prometheus_name("evaluation/gfid")
        for _ in range(PATIENCE):
            with urllib.request.urlopen(f"http://{address}:{port}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            found = [one for one in lines if one.startswith(f"ray_{wanted}{{")]
            if found:
                break
            time.sleep(1)
    finally:
        program.kill()
        program.wait()
    assert any(one.endswith(" 2.5") and 'run="digits"' in one for one in found), lines[:5]
    share = [one for one in lines if one.startswith(f"ray_{prometheus_name('goodput/share')}{{")]
    assert share[0].endswith(" 0.75")
    clock = [one for one in lines if "evaluation_images_seen{" in one and not one.startswith("#")]
    assert clock[0].endswith(" 640.0")
    assert not any(prometheus_name("evaluation/rfid") in one for one in lines)
