"""The board of campaigns: leaderboard, rungs and budget."""

from system.observe.boards.board import TALL
from system.observe.boards.board import WIDTH
from system.observe.boards.board import Board
from system.observe.boards.board import Panel
from system.observe.boards.board import Query
from system.observe.boards.board import Row
from system.observe.boards.board import plot
from system.observe.boards.query import newest

_TRIAL = "{{campaign}} {{trial}}"
_COLUMNS = {
    "campaign/place": "place",
    "campaign/value": "value",
    "campaign/error": "standard error",
    "campaign/confirmed_value": "confirmed",
    "campaign/confirmed_error": "its standard error",
    "campaign/images_seen": "images seen",
}
_FIRST = f"({newest('campaign/place')} == 1)"

CAMPAIGN = Board(
    "latent-flows-campaign",
    "Latent flows: campaign",
    "Sweeps: which trial is best, how far they are, what is spent.",
    ("campaign",),
    (
        Row(
            "Leaderboard",
            (
                Panel("Leaderboard", "Best first: confirmed before measured, a later rung before "
                      "an earlier. Numbers of different rungs are not held against each other.",
                      tuple(Query(newest(name), f"{_TRIAL} {column}")
                            for name, column in _COLUMNS.items()),
                      look="table", width=WIDTH, height=TALL),
                Panel("State", "The state of each campaign.",
                      (Query(newest("campaign/state"), "{{campaign}} {{state}}"),), look="stat"),
                Panel("Objective", "What is optimised.",
                      (Query(newest("campaign/info"),
                             "{{campaign}} {{direction}} {{objective}}"),), look="stat"),
                Panel("Best value", "Of the trial that is first, with its confirmed value.",
                      (Query(f"{newest('campaign/value')} and on (campaign, trial) {_FIRST}",
                             _TRIAL),
                       Query(f"{newest('campaign/confirmed_value')} "
                             f"and on (campaign, trial) {_FIRST}", f"{_TRIAL} confirmed"))),
                Panel("Values", "The objective of every trial at its newest rung.",
                      (Query(newest("campaign/value"), _TRIAL),), width=16, height=TALL),
                Panel("Images seen", "How far each trial has trained.",
                      (Query(newest("campaign/images_seen"), _TRIAL),), height=TALL),
            ),
        ),
        Row(
            "Rungs",
            (
                Panel("Trials by state", "How many trials are in each state.",
                      (Query(f"sum by (state) ({newest('campaign/trials')})", "{{state}}"),),
                      look="bargauge"),
                Panel("Trials at each rung", "How many have come that far.",
                      (Query(newest("campaign/rung_trials"), "{{campaign}} rung {{rung}}"),),
                      look="bargauge"),
                Panel("Rungs", "Images seen that a rung ends at.",
                      (Query(newest("campaign/rung_images"), "{{campaign}} rung {{rung}}"),),
                      look="bargauge"),
            ),
        ),
        Row(
            "Budget",
            (
                plot("GPU hours", "campaign/gpu_hours_spent", "campaign/gpu_hours_limit"),
                plot("Money", "campaign/cost_spent", "campaign/cost_limit"),
                plot("Seconds since the last tick", "campaign/silent_s"),
            ),
        ),
    ),
    span="now-7d",
)  # fmt: skip
