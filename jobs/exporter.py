"""Show all runs and campaigns under a root to Prometheus, also long after their jobs have ended.

    python jobs/exporter.py root=runs
    python jobs/exporter.py root=s3://bucket/runs host=0.0.0.0 price_per_worker_hour=2.5

gFID with its error, goodput by cause, restarts, age of the newest checkpoint, lag of evaluations,
leaderboards and budgets, out of ledgers alone: it needs no Ray and may be ended and started at any
time. Listens on loopback unless told otherwise; reads what was appended every 15 seconds; storage
that is away leaves the last numbers standing. `ops/prometheus/prometheus.yaml` scrapes it,
`ops/grafana` draws it. One core, a few percent of it.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.exporter.serving import Exporting
from system.observe.exporter.serving import serve


def main(resolved: Resolved[Exporting]) -> None:
    """Answer scrapes until it is ended."""
    serve(resolved.recipe)


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Exporting, bare="root")
