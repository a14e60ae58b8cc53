"""Rows of the registry that only the exporter shows: what is known of whole runs and campaigns.

They are folded out of ledgers and leaderboards, so they outlive every worker and driver. Points in
time are seconds since 1970 and end in `_time_s`.
"""

from system.telemetry.metric import Metric

_CAMPAIGN = ("campaign",)
_TRIAL = ("campaign", "trial", "run")

OF_RUNS = (
    Metric("run/state", "", "1 for the state that a run is in, 0 for all others", "neither",
           labels=("run", "state")),
    Metric("run/info", "", "always 1; its labels say what runs", labels=("run", "recipe")),
    Metric("run/images_seen", "count", "images trained on, as of the newest report"),
    Metric("run/total_images", "count", "images after which the run is done"),
    Metric("run/attempt", "count", "which life of the run this is"),
    Metric("run/workers", "count", "workers of the newest attempt"),
    Metric("run/started_time_s", "s", "when its ledger begins"),
    Metric("run/last_event_time_s", "s", "when its ledger was written to last"),
    Metric("run/stalled_s", "s", "since the last update told of; 0 of a run that is over", "lower"),
    Metric("run/checkpoint_time_s", "s", "when the newest checkpoint was committed"),
    Metric("run/checkpoint_images", "count", "images that the newest checkpoint has seen"),
    Metric("run/checkpoint_age_s", "s",
           "since the newest checkpoint, or the start; 0 of a run that is over", "lower"),
    Metric("run/checkpoint_interval_s", "s", "mean time between checkpoints of an attempt"),
    Metric("run/evaluations_waiting", "count", "checkpoints that wait to be evaluated", "lower"),
    Metric("run/evaluation_waiting_s", "s", "for how long the oldest of these has waited", "lower"),
    Metric("run/evaluation_lag_images", "count",
           "newest checkpoint less the newest that was evaluated", "lower"),
    Metric("run/evaluations_since_best", "count",
           "newest evaluations in a row whose gFID is worse than the best by two standard errors",
           "lower"),
    Metric("run/best_gfid", "", "lowest gFID of all evaluations", "lower"),
    Metric("run/worker_hours", "h", "wall time times workers, of all attempts", kind="counter"),
    Metric("run/cost_usd", "USD", "worker hours times the price that the exporter was told",
           kind="counter"),
    Metric("run/restarts", "count", "attempts after the first", "lower", kind="counter"),
    Metric("run/failures", "count", "failures of workers by cause", "lower", kind="counter",
           labels=("run", "cause")),
    Metric("run/events", "count", "events of the ledger by kind", kind="counter",
           labels=("run", "kind")),
    Metric("run/slowest_reports", "count", "reports in which this worker was the slowest",
           kind="counter", labels=("run", "rank")),
)  # fmt: skip

OF_CAMPAIGNS = (
    Metric("campaign/state", "", "always 1; the label says which",
           labels=("campaign", "state")),
    Metric("campaign/info", "", "always 1; its labels say what is optimised",
           labels=("campaign", "objective", "direction")),
    Metric("campaign/trials", "count", "trials by state", labels=("campaign", "state")),
    Metric("campaign/rung_images", "count", "images seen that a rung ends at",
           labels=("campaign", "rung")),
    Metric("campaign/rung_trials", "count", "trials that have come to a rung",
           labels=("campaign", "rung")),
    Metric("campaign/place", "count", "a trial's place, 1 is best", "lower", labels=_TRIAL),
    Metric("campaign/value", "", "the objective of a trial at its newest rung", labels=_TRIAL),
    Metric("campaign/error", "", "standard error of that", "lower", labels=_TRIAL),
    Metric("campaign/confirmed_value", "", "the objective on fresh seeds", labels=_TRIAL),
    Metric("campaign/confirmed_error", "", "standard error of that", "lower", labels=_TRIAL),
    Metric("campaign/images_seen", "count", "images that a trial has trained on", labels=_TRIAL),
    Metric("campaign/gpu_hours_spent", "h", "GPU hours spent", labels=_CAMPAIGN),
    Metric("campaign/gpu_hours_limit", "h", "GPU hours that may be spent", labels=_CAMPAIGN),
    Metric("campaign/cost_spent", "", "money spent, in the currency of its price table",
           labels=_CAMPAIGN),
    Metric("campaign/cost_limit", "", "money that may be spent", labels=_CAMPAIGN),
    Metric("campaign/silent_s", "s", "since the last tick; 0 of a campaign that is over", "lower",
           labels=_CAMPAIGN),
)  # fmt: skip

OF_THE_EXPORTER = (
    Metric("exporter/last_read_time_s", "s", "when all ledgers were read last", labels=()),
    Metric("exporter/read_s", "s", "how long that took", "lower", labels=()),
    Metric("exporter/failed_reads", "count", "times that storage was away", "lower",
           kind="counter", labels=()),
    Metric("exporter/runs", "count", "runs under the root", labels=()),
    Metric("exporter/unreadable_runs", "count", "of these, runs that could not be read", "lower",
           labels=()),
    Metric("exporter/disk_free_bytes", "bytes", "free where runs are written, if that is a disk",
           labels=()),
    Metric("exporter/disk_size_bytes", "bytes", "the size of that disk", labels=()),
)  # fmt: skip

EXPORTED = (*OF_RUNS, *OF_CAMPAIGNS, *OF_THE_EXPORTER)
