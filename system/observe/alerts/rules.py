"""The alerts: of runs, of what they cost, of those who watch them."""

from system.observe.alerts.alert import Alert
from system.observe.alerts.alert import called

_STATE, _KIND = 'state="{}"', 'kind="{}"'
_RUNNING = f"and on (run) {called('run/state', _STATE.format('running'))} == 1"
_IS_RUNNING = {("run/state", 'state="running"'): "1x60"}
_PACE, _NORM = called("throughput/images_per_s"), called("train/gradient_norm")
_AGE = called("run/checkpoint_age_s")
_READ = called("exporter/last_read_time_s")
_SKIPS = 'kind=~"skipped_update|rolled_back"'

OF_RUNS = (
    Alert(
        "NoCommittedStep",
        f"{called('run/stalled_s')} > 900",
        5,
        "page",
        "run {run} has told of no update for a quarter of an hour and has not said that it is over",
        fires={("run/stalled_s", ""): "0+60x60"},
        rests={("run/stalled_s", ""): "30x60"},
    ),
    Alert(
        "RunFailed",
        f"{called('run/state', _STATE.format('failed'))} == 1",
        1,
        "page",
        "run {run} has given up",
        fires={("run/state", 'state="failed"'): "0x30 1x30"},
        rests={("run/state", 'state="failed"'): "0x60"},
        more_labels={"state": "failed"},
    ),
    Alert(
        "ThroughputFell",
        f"{_PACE} < 0.7 * avg_over_time({_PACE}[1h]) {_RUNNING}",
        10,
        "warning",
        "run {run} trains at less than 70 % of its own mean of an hour",
        fires={("throughput/images_per_s", ""): "100x44 40x20", **_IS_RUNNING},
        rests={("throughput/images_per_s", ""): "100x44 80x20", **_IS_RUNNING},
    ),
    Alert(
        "WaitingForData",
        f"{called('throughput/data_wait_s')} / {called('throughput/update_s')} > 0.1 {_RUNNING}",
        10,
        "warning",
        "run {run} waits for data more than a tenth of its time",
        fires={
            ("throughput/data_wait_s", ""): "0.3x60",
            ("throughput/update_s", ""): "1x60",
            **_IS_RUNNING,
        },
        rests={
            ("throughput/data_wait_s", ""): "0.05x60",
            ("throughput/update_s", ""): "1x60",
            **_IS_RUNNING,
        },
    ),
    Alert(
        "UpdatesSkipped",
        f"increase({called('run/events', _SKIPS)}[30m]) > 0",
        0,
        "warning",
        "run {run} has skipped updates whose values were not finite, or was taken back",
        fires={("run/events", 'kind="skipped_update"'): "0x50 3x20"},
        rests={("run/events", 'kind="skipped_update"'): "3x60"},
        more_labels={"kind": "skipped_update"},
    ),
    Alert(
        "GradientNormHigh",
        f"{_NORM} > 5 * quantile_over_time(0.5, {_NORM}[1d]) {_RUNNING}",
        2,
        "warning",
        "run {run} has gradients five times as large as the median of a day",
        fires={("train/gradient_norm", ""): "1x55 9x20", **_IS_RUNNING},
        rests={("train/gradient_norm", ""): "1x55 4x20", **_IS_RUNNING},
    ),
    Alert(
        "CheckpointOld",
        f"({_AGE} > 1800 and {_AGE} > 2 * {called('run/checkpoint_interval_s')}) or {_AGE} > 14400",
        5,
        "page",
        "run {run} has saved nothing for two of its intervals",
        fires={
            ("run/checkpoint_age_s", ""): "0+60x60",
            ("run/checkpoint_interval_s", ""): "900x60",
        },
        rests={
            ("run/checkpoint_age_s", ""): "0+60x60",
            ("run/checkpoint_interval_s", ""): "3600x60",
        },
    ),
    Alert(
        "EvaluationLate",
        f"{called('run/evaluation_waiting_s')} > 7200",
        5,
        "warning",
        "run {run} has a checkpoint that has waited two hours for its evaluation",
        fires={("run/evaluation_waiting_s", ""): "6000+60x60"},
        rests={("run/evaluation_waiting_s", ""): "0+60x60"},
    ),
    Alert(
        "EvaluationFailed",
        f"increase({called('run/events', _KIND.format('evaluation_failed'))}[1h]) > 0",
        0,
        "warning",
        "run {run} has an evaluation that failed",
        fires={("run/events", 'kind="evaluation_failed"'): "0x30 1x30"},
        rests={("run/events", 'kind="evaluation_failed"'): "1x60"},
        more_labels={"kind": "evaluation_failed"},
    ),
    Alert(
        "GfidWorse",
        f"{called('run/evaluations_since_best')} >= 3",
        0,
        "warning",
        "run {run} has three evaluations in a row with a gFID that is surely worse than its best",
        fires={("run/evaluations_since_best", ""): "3x60"},
        rests={("run/evaluations_since_best", ""): "2x60"},
    ),
    Alert(
        "GoodputLow",
        f"{called('goodput/share_while_driven')} < 0.85 "
        f"and on (run) {called('goodput/wall_s')} > 3600 {_RUNNING}",
        15,
        "warning",
        "run {run} trains on new images for less than 85 % of its time",
        fires={
            ("goodput/share_while_driven", ""): "0.5x60",
            ("goodput/wall_s", ""): "7200x60",
            **_IS_RUNNING,
        },
        rests={
            ("goodput/share_while_driven", ""): "0.9x60",
            ("goodput/wall_s", ""): "7200x60",
            **_IS_RUNNING,
        },
    ),
    Alert(
        "RestartingAgain",
        f"increase({called('run/restarts')}[1h]) >= 3",
        0,
        "page",
        "run {run} was restarted three times within an hour",
        fires={("run/restarts", ""): "0x20 1x10 3x10 5x20"},
        rests={("run/restarts", ""): "0x20 1x40"},
    ),
    Alert(
        "StragglerFound",
        f"{called('throughput/straggler_ratio')} > 1.3 {_RUNNING}",
        15,
        "warning",
        "run {run} has a worker that takes 30 % longer than the others",
        fires={("throughput/straggler_ratio", ""): "1.6x60", **_IS_RUNNING},
        rests={("throughput/straggler_ratio", ""): "1.1x60", **_IS_RUNNING},
    ),
)

_SPENT = (
    f"({called('campaign/gpu_hours_spent')} / {called('campaign/gpu_hours_limit')} {{0}}) "
    f"or ({called('campaign/cost_spent')} / {called('campaign/cost_limit')} {{0}})"
)


def _spent(hours: str) -> dict[tuple[str, str], str]:
    return {
        ("campaign/gpu_hours_spent", ""): hours,
        ("campaign/gpu_hours_limit", ""): "100x60",
        ("campaign/cost_spent", ""): "1x60",
        ("campaign/cost_limit", ""): "10x60",
    }


OF_CAMPAIGNS = (
    Alert(
        "BudgetNearlySpent",
        _SPENT.format("> 0.8"),
        0,
        "warning",
        "campaign {campaign} has spent four fifths of its budget",
        fires=_spent("85x60"),
        rests=_spent("70x60"),
        subject="campaign",
    ),
    Alert(
        "BudgetSpent",
        _SPENT.format(">= 1"),
        0,
        "page",
        "campaign {campaign} has spent its budget",
        fires=_spent("100x60"),
        rests=_spent("85x60"),
        subject="campaign",
    ),
    Alert(
        "CampaignDidNotStart",
        f"{called('campaign/silent_s')} > 3600",
        5,
        "page",
        "nothing has taken campaign {campaign} further for an hour, and it is not over",
        fires={("campaign/silent_s", ""): "3000+60x60"},
        rests={("campaign/silent_s", ""): "300x60"},
        subject="campaign",
    ),
)

OF_WATCHERS = (
    Alert(
        "ExporterStale",
        f'absent({_READ}) or time() - {_READ} > 300 or up{{job="latent-flows"}} == 0',
        5,
        "page",
        "what is shown of runs and campaigns is old: the exporter is gone, or its storage is",
        fires={("exporter/last_read_time_s", ""): "600x60"},
        rests={("exporter/last_read_time_s", ""): "0+60x60"},
        subject="",
    ),
    Alert(
        "DiskNearlyFull",
        f"{called('exporter/disk_free_bytes')} / {called('exporter/disk_size_bytes')} < 0.1",
        5,
        "page",
        "the disk that runs are written to is nine tenths full",
        fires={
            ("exporter/disk_free_bytes", ""): "5x60",
            ("exporter/disk_size_bytes", ""): "100x60",
        },
        rests={
            ("exporter/disk_free_bytes", ""): "20x60",
            ("exporter/disk_size_bytes", ""): "100x60",
        },
        subject="",
    ),
)

GROUPS = {"runs": OF_RUNS, "campaigns": OF_CAMPAIGNS, "watchers": OF_WATCHERS}
