"""A run's newest numbers as Prometheus gauges, through Ray's own metrics agent.

The driver lives as long as the run, so a gauge set here outlives the workers that measured it. Ray
exports it at every node's metrics port as `ray_latent_flows_<area>_<quantity>`, labelled by run.
Like every mirror of the ledger it may fail at no cost.
"""

import logging
import math
import unicodedata

from ray.util.metrics import Gauge

from system.telemetry.ledger import Event
from system.telemetry.metric import prometheus_name
from system.telemetry.metrics import METRICS

CLOCK = "images_seen"
MIRRORED = ("report", "evaluation", "goodput")

log = logging.getLogger(__name__)


def plain(text: str) -> str:
    """Text without accents: Ray takes ASCII alone."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


class PrometheusSink:
    """Shows events as gauges. `failures` counts events that could not be shown."""

    def __init__(self, run: str) -> None:
        self.failures = 0
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def show(self, event: Event) -> None:
        """Set the gauges of an event's values, and how far the run is."""
        if event["kind"] not in MIRRORED:
            return
        clock = f"{event['kind']}/{CLOCK}"
        try:
            told = event["values"] | ({clock: event[CLOCK]} if clock in METRICS else {})
            for name, value in told.items():
                if math.isfinite(value):
                    self._gauge(name).set(value, tags={"run": self._run})
        except Exception as error:  # a mirror that breaks must not stop the run
            self.failures += 1
            log.debug("prometheus lost an event: %s", error)

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            metric = METRICS.get(name)
            meaning = plain(metric.meaning if metric else f"of {name}")
            self._gauges[name] = Gauge(
                prometheus_name(name), description=meaning, tag_keys=("run",)
            )
        return self._gauges[name]
