"""The board of all runs: their states, how fast and how well they train, what they cost."""

from system.observe.boards.board import TALL
from system.observe.boards.board import WIDTH
from system.observe.boards.board import Board
from system.observe.boards.board import Panel
from system.observe.boards.board import Query
from system.observe.boards.board import Row
from system.observe.boards.board import plot
from system.observe.boards.query import newest
from system.observe.boards.query import selector

_RUNNING = newest("run/state", state="running")

_RUNS = Panel(
    "Runs",
    "Every run, newest numbers. Progress is of run.total_images, goodput of the whole wall time.",
    (
        Query(f"max by (run, state) ({selector('run/state')} == 1)", "{{run}} state"),
        Query(f"{newest('run/images_seen')} / {newest('run/total_images')}", "{{run}} progress"),
        Query(newest("throughput/images_per_s"), "{{run}} images/s"),
        Query(newest("throughput/mfu_share"), "{{run}} MFU"),
        Query(newest("goodput/share"), "{{run}} goodput"),
        Query(newest("evaluation/gfid"), "{{run}} gFID"),
        Query(newest("run/best_gfid"), "{{run}} best gFID"),
        Query(newest("run/restarts"), "{{run}} restarts"),
        Query(newest("run/workers"), "{{run}} workers"),
        Query(newest("run/worker_hours"), "{{run}} worker hours"),
        Query(newest("run/cost_usd"), "{{run}} cost"),
        Query(newest("run/stalled_s"), "{{run}} seconds without an update"),
        Query(newest("run/info"), "{{run}} recipe"),
    ),
    look="table",
    width=WIDTH,
    height=TALL,
)

FLEET = Board(
    "latent-flows-fleet",
    "Latent flows: fleet",
    "All runs under one root, also those whose jobs have ended.",
    ("run",),
    (
        Row(
            "Now",
            (
                Panel("Runs by state", "How many runs are in each state.",
                      (Query(f"sum by (state) ({newest('run/state')})", "{{state}}"),),
                      look="stat"),
                Panel("Training now", "Images per second of all runs that are running.",
                      (Query(f"sum({newest('throughput/images_per_s')} * on (run) {_RUNNING})",
                             "images/s"),), "images/s", look="stat"),
                Panel("Cost", "Worker hours times the price the exporter was told, all runs.",
                      (Query(f"sum({newest('run/cost_usd')})", "cost"),), "USD", look="stat"),
                _RUNS,
            ),
        ),
        Row(
            "Pace and quality",
            (
                plot("Images per second", "throughput/images_per_s", is_live=True),
                plot("MFU", "throughput/mfu_share"),
                plot("Goodput", "goodput/share", "goodput/share_while_driven"),
                plot("gFID", "evaluation/gfid"),
                plot("Images seen", "run/images_seen"),
                plot("Evaluations since the best", "run/evaluations_since_best"),
                plot("Seconds without an update", "run/stalled_s"),
            ),
        ),
        Row(
            "Failures and cost",
            (
                plot("Restarts", "run/restarts"),
                Panel("Failures by cause", "Failures of workers in the last hour.",
                      (Query(f"sum by (cause) (increase({selector('run/failures')}[1h]))",
                             "{{cause}}"),)),
                Panel("Cost by run", "Worker hours times the price the exporter was told.",
                      (Query(newest("run/cost_usd")),), "USD"),
                Panel("Events", "What went wrong in the last hour, by kind of event.",
                      (Query(f"sum by (kind) (increase({selector('run/events')}[1h]))",
                             "{{kind}}"),)),
                plot("Worker hours", "run/worker_hours"),
                Panel("Age", "Since the ledger begins, and since it was written to last.",
                      (Query(f"time() - {newest('run/started_time_s')}", "{{run}} begun"),
                       Query(f"time() - {newest('run/last_event_time_s')}", "{{run}} last word")),
                      "s"),
            ),
        ),
        Row(
            "Exporter and disk",
            (
                Panel("Seconds since ledgers were read", "Above a minute the numbers here are old.",
                      (Query(f"time() - {newest('exporter/last_read_time_s')}", "age"),), "s"),
                plot("Time of a read", "exporter/read_s"),
                Panel("Disk", "Free where runs are written, if that is a disk.",
                      (Query(f"{newest('exporter/disk_free_bytes')} "
                             f"/ {newest('exporter/disk_size_bytes')}", "free"),), "fraction"),
                plot("Runs", "exporter/runs", "exporter/unreadable_runs"),
                plot("Reads that failed", "exporter/failed_reads"),
            ),
        ),
    ),
)  # fmt: skip
