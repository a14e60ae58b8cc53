"""Reads the runs again and again in a thread of its own, and answers scrapes from what it has.

A scrape never waits for storage. While that is away the last numbers stand, and the time of the
last read, which is among them, tells how old they are.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from system.foundation import storage
from system.observe.exporter.samples import Sample
from system.observe.exporter.samples import of_campaign
from system.observe.exporter.samples import of_run
from system.observe.fleet import Fleet
from system.observe.leaderboard import read_leaderboards
from system.telemetry.metric import UNCERTAINTY
from system.telemetry.metric import prometheus_name
from system.telemetry.metrics import METRICS

log = logging.getLogger(__name__)


class FleetCollector(Collector):
    """All runs and campaigns under a root, as Prometheus reads them.

    Age is by `clock`; `price_per_worker_hour` may be None, and cost is not shown then.
    """

    def __init__(
        self,
        root: str,
        *,
        price_per_worker_hour: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._price = price_per_worker_hour
        self._clock = clock
        self._fleet = Fleet(root, clock)
        self._samples: tuple[Sample, ...] = ()
        self._failures = 0
        self._stop = threading.Event()

    def read(self) -> bool:
        """Read what is new; whether storage answered. Never raises for what storage or runs do."""
        start, now = time.monotonic(), self._clock()
        try:
            runs, boards = self._fleet.read(), read_leaderboards(self._root)
            samples = [each for run in runs for each in of_run(run, now, self._price)]
            samples += [each for board in boards for each in of_campaign(board, now)]
        except Exception as error:  # whatever a store raises, the last numbers stay
            self._failures += 1
            log.warning("the runs under %s cannot be read: %s", self._root, error)
            return False
        samples += [
            Sample("exporter/last_read_time_s", now),
            Sample("exporter/read_s", time.monotonic() - start),
            Sample("exporter/runs", len(runs)),
            Sample("exporter/unreadable_runs", sum(run.problem is not None for run in runs)),
            *_disk(self._root),
        ]
        self._samples = tuple(samples)
        return True

    def collect(self) -> Iterator[Family]:
        """What a scrape gets."""
        return families((*self._samples, Sample("exporter/failed_reads", self._failures)))

    def follow(self, every_s: float) -> None:
        """Read until `stop` is called."""
        while not self._stop.wait(every_s):
            self.read()

    def stop(self) -> None:
        """End `follow`."""
        self._stop.set()


def families(samples: Iterable[Sample]) -> Iterator[Family]:
    """Samples by metric, each with its help and kind out of the registry."""
    found: dict[str, Family] = {}
    for sample in samples:
        if sample.name not in found:
            found[sample.name] = _family(sample.name)
        metric = METRICS[sample.name.removesuffix(UNCERTAINTY)]
        assert sample.labels.keys() == set(metric.labels), sample
        labels = [sample.labels[label] for label in metric.labels]
        found[sample.name].add_metric(labels, sample.value)  # type: ignore[attr-defined]
    yield from found.values()


def _family(name: str) -> Family:
    metric = METRICS[name.removesuffix(UNCERTAINTY)]
    prefix = "standard error of: " if name != metric.name else ""
    text = f"{prefix}{metric.meaning}" + (f" ({metric.unit})" if metric.unit else "")
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(prometheus_name(name), text, labels=metric.labels)


def _disk(root: str) -> Iterator[Sample]:
    if not storage.is_local(root):
        return
    usage = shutil.disk_usage(storage.local_path(root))
    yield Sample("exporter/disk_free_bytes", usage.free)
    yield Sample("exporter/disk_size_bytes", usage.total)
