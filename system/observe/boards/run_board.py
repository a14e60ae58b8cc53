"""The board of one run, or of a few side by side: losses, pace, gFID, checkpoints, lost time."""

from collections.abc import Iterator

from system.observe.boards.board import TALL
from system.observe.boards.board import Board
from system.observe.boards.board import Panel
from system.observe.boards.board import Query
from system.observe.boards.board import Row
from system.observe.boards.board import plot
from system.observe.boards.query import bound
from system.observe.boards.query import newest
from system.observe.boards.query import selector
from system.telemetry.attribution import CAUSES
from system.telemetry.metrics import METRICS

_DOUBTFUL = "Beside it: two standard errors to either side."
# How the numbers of evaluations fall into pictures, by the beginning of their names; one of a name
# that none fits to stands in the last picture.
_GROUPS = {
    "Fréchet distances of drawn images": ("gfid", "sfid", "fd_"),
    "Kernel distance and Inception Score": ("kid", "inception_score"),
    "Precision, recall, density, coverage": ("precision", "recall", "density", "coverage"),
    "Fréchet distances of reconstructions": ("rfid",),
    "Reconstruction in decibels": ("psnr",),
    "Similarity of reconstructions": ("ssim", "lpips"),
    "Accuracy": ("conditional_accuracy", "classifier_accuracy", "bayes_", "gradient_"),
    "Density in bits": ("bits_per_dim", "rate_bits_per_dim", "pixel_bits_per_dim"),
    "Nearest training images": ("nearest",),
    "Latents, standard measures": ("standard_",),
    "Latents and the rest": ("",),
}


def _with_errors(title: str, *names: str) -> Panel:
    """Numbers of evaluations with their uncertainty."""
    queries = [
        query
        for name in names
        for query in (
            Query(newest(name), f"{{{{run}}}} {_label(name)}"),
            Query(bound(name, "+"), f"{{{{run}}}} {_label(name)} +2 s.e."),
            Query(bound(name, "-"), f"{{{{run}}}} {_label(name)} -2 s.e."),
        )
    ]
    meaning = "; ".join(f"{name}: {METRICS[name].meaning}" for name in names)
    return Panel(title, f"{meaning}. {_DOUBTFUL}", queries, METRICS[names[0]].unit, height=TALL)


def _label(name: str) -> str:
    return name.partition("/")[2]


def _all_evaluated() -> Iterator[Panel]:
    """Every number that an evaluation can have, in pictures of related ones."""
    left = [n for n, m in METRICS.items() if m.area == "evaluation" and n not in _NOT_NUMBERS]
    for title, beginnings in _GROUPS.items():
        names = [name for name in left if _label(name).startswith(beginnings)]
        left = [name for name in left if name not in names]
        for part, at in enumerate(range(0, len(names), _MOST), 1):
            more = f" ({part})" if len(names) > _MOST else ""
            yield plot(title + more, *names[at : at + _MOST], width=12)


_NOT_NUMBERS = ("evaluation/images_seen", "evaluation/seconds_s")
_MOST = 8  # lines that a picture can have and still be read

_PROGRESS = Row(
    "Progress",
    (
        Panel("State", "The state of each run.",
              (Query(f"max by (run, state) ({selector('run/state')} == 1)", "{{run}} {{state}}"),),
              look="stat"),
        Panel("Progress", "Share of run.total_images.",
              (Query(f"{newest('run/images_seen')} / {newest('run/total_images')}"),), "fraction",
              look="stat"),
        Panel("Time left", "At the pace of the newest report.",
              (Query(f"clamp_min({newest('run/total_images')} - {newest('run/images_seen')}, 0) "
                     f"/ {newest('throughput/images_per_s')}"),), "s", look="stat"),
        plot("Images seen", "report/images_seen", is_live=True),
        plot("Attempt and workers", "run/attempt", "run/workers"),
        Panel("Events", "What went wrong in the last hour, by kind of event.",
              (Query(f"sum by (kind) (increase({selector('run/events')}[1h]))", "{{kind}}"),)),
    ),
)  # fmt: skip

_LOSSES = Row(
    "Losses",
    (
        plot("Objective", "loss/total", is_live=True),
        plot("Density", "loss/nll_nats", "loss/entropy_nats"),
        plot("Reconstruction", "loss/reconstruction", "loss/perceptual"),
        plot("Adversarial", "loss/adversarial", "loss/critic"),
        plot("Alignment", "loss/alignment", "alignment/cosine"),
        plot("Penalty", "loss/penalty"),
        plot("Latents", "latent/mean_std", "latent/batch_std", "latent/posterior_std"),
        plot("Signal to noise of latents", "latent/signal_to_noise"),
    ),
)

_UPDATES = Row(
    "Updates",
    (
        plot("Gradient norm", "train/gradient_norm", is_live=True),
        plot("Gradients by part", "train/encoder_gradient", "train/decoder_gradient",
             "train/flow_gradient"),
        plot("Learning rate", "train/learning_rate"),
        plot("Averaging", "train/averaging_decay"),
        plot("Updates", "train/updates"),
        plot("Skipped updates and bad samples", "train/skipped_updates", "train/bad_samples"),
    ),
)  # fmt: skip

_PACE = Row(
    "Throughput",
    (
        plot("Images per second", "throughput/images_per_s", is_live=True),
        plot("MFU", "throughput/mfu_share", is_live=True),
        plot("Time of an update", "throughput/update_s", "throughput/data_wait_s"),
        Panel("Waiting for data", "Share of an update's time.",
              (Query(f"{newest('throughput/data_wait_s')} / {newest('throughput/update_s')}"),),
              "fraction"),
        plot("Slowest worker to the others", "throughput/straggler_ratio",
             "throughput/slowest_rank"),
        Panel("Stragglers", "Reports in which each worker was the slowest, in ten minutes. Of "
              "equal workers all rows are alike; one bright row is a slow machine.",
              (Query(f"sum by (rank) (increase({selector('run/slowest_reports')}[10m]))",
                     "{{rank}}"),), look="heatmap"),
        plot("Standing still for a checkpoint", "throughput/checkpoint_s"),
        plot("Peak memory of a worker", "throughput/peak_memory_bytes"),
    ),
)  # fmt: skip

_TIME = Row(
    "Where the time went",
    (
        plot("Goodput", "goodput/share", "goodput/share_while_driven"),
        Panel("Time by cause", "Seconds so far; what is not productive is badput.",
              tuple(Query(f"sum({newest(f'goodput/{cause}_s')})", cause) for cause in CAUSES), "s",
              custom={"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 60}),
        plot("Wall time", "goodput/wall_s"),
    ),
)  # fmt: skip

_QUALITY = Row(
    "Quality",
    (
        _with_errors("gFID", "evaluation/gfid", "evaluation/gfid_unguided"),
        _with_errors("rFID", "evaluation/rfid", "evaluation/rfid_sampled"),
        plot("Accuracy", "evaluation/conditional_accuracy", "evaluation/bayes_accuracy",
             "evaluation/gradient_accuracy", "evaluation/classifier_accuracy"),
        plot("gFID and what it can be at best", "evaluation/gfid", "evaluation/gfid_floor",
             "run/best_gfid"),
        plot("Evaluations since the best", "run/evaluations_since_best"),
        plot("Time of an evaluation", "evaluation/seconds_s"),
        plot("Evaluation lag in images", "run/evaluation_lag_images", "evaluation/images_seen",
             "run/checkpoint_images"),
        plot("Oldest waiting evaluation", "run/evaluation_waiting_s"),
        plot("Waiting evaluations", "run/evaluations_waiting"),
    ),
)  # fmt: skip

_CHECKPOINTS = Row(
    "Checkpoints",
    (
        plot("Age of the newest checkpoint", "run/checkpoint_age_s", "run/checkpoint_interval_s"),
        Panel("Newest checkpoint", "When it was committed.",
              (Query(f"{newest('run/checkpoint_time_s')} * 1000"),), "time", look="stat"),
        plot("Seconds without an update", "run/stalled_s"),
    ),
)  # fmt: skip

RUN = Board(
    "latent-flows-run",
    "Latent flows: run",
    "One run, or a few side by side; also after their jobs have ended.",
    ("run",),
    (
        _PROGRESS, _LOSSES, _UPDATES, _PACE, _TIME, _QUALITY, _CHECKPOINTS,
        Row("Every number of evaluations", tuple(_all_evaluated())),
    ),
)  # fmt: skip
