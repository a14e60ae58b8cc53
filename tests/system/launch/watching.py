"""A real Prometheus on loopback, with the configuration that is committed, and questions to it."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.launch.conftest import ROOT
from tests.system.launch.conftest import start_program

OPS = ROOT / "ops" / "prometheus"
# What is not scraped any more is forgotten after this; by default after five minutes.
LOOKBACK_S, USUAL_LOOKBACK_S = 45, 300
PATIENCE_S = 60
VARIABLES = {"run": ".*", "campaign": ".*"}


@dataclass(frozen=True)
class Watcher:
    """A program that watches, and where it answers."""

    process: "subprocess.Popen[str]"
    url: str

    def ask(self, expression: str, at: float | None = None) -> list[dict]:
        """What Prometheus finds at a time, now if none is given."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        question = urllib.parse.urlencode({"query": with_variables(expression), **when})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{question}") as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]["result"]

    def until(self, expression: str, patience_s: float = PATIENCE_S) -> list[dict]:
        """Ask until there is something."""
        deadline = time.monotonic() + patience_s
        while not (found := self.ask(expression)):
            assert time.monotonic() < deadline, f"nothing answers {expression}"
            time.sleep(0.5)
        return found


def with_variables(expression: str) -> str:
    """What Grafana makes of an expression where all runs and campaigns are selected."""
    for name, value in VARIABLES.items():
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression
    return expression


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def exporter(root: str) -> Iterator[Watcher]:
    """The exporter as a program of its own."""
    process = start_program(
        "jobs/exporter.py", f"root={root}", "port=0", "every_s=0.5", "price_per_worker_hour=2"
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stdout.read()
        yield Watcher(process, found[0])
    finally:
        process.kill()
        process.wait()


@contextmanager
def prometheus(
    folder: Path, discovery: Path, exporter_url: str, *, lookback_s: int = LOOKBACK_S
) -> Iterator[Watcher]:
    """Prometheus with the committed files, quicker, and with the places of this test."""
    text = (OPS / "prometheus.yaml").read_text()
    for usual, here in (
        ("/tmp/ray/prom_metrics_service_discovery.json", str(discovery)),
        ("127.0.0.1:9464", urllib.parse.urlsplit(exporter_url).netloc),
        ("scrape_interval: 10s", "scrape_interval: 5s"),
        ("- rules.yaml", f"- {OPS / 'rules.yaml'}"),
    ):
        assert usual in text
        text = text.replace(usual, here)
    (folder / "prometheus.yaml").write_text(text)
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
                f"--query.lookback-delta={lookback_s}s",
            ],
            stdout=log, stderr=log, text=True, env=os.environ,
        )  # fmt: skip
    try:
        _wait_for(f"{url}/-/ready")
        yield Watcher(process, url)
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, url
            time.sleep(0.3)
