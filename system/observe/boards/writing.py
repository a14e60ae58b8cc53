"""The boards as files: `ops/grafana` is written by this and by nothing else."""

from pathlib import Path

from pydantic import Field

from system.foundation.settings.record import Record
from system.observe.boards.campaign_board import CAMPAIGN
from system.observe.boards.fleet_board import FLEET
from system.observe.boards.run_board import RUN

BOARDS = {"fleet.json": FLEET, "run.json": RUN, "campaign.json": CAMPAIGN}


class Writing(Record):
    """Where boards are written."""

    out: str = Field("ops/grafana", description="folder for the boards' JSON")


def write_boards(settings: Writing) -> list[Path]:
    """Write every board; the paths."""
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, board in BOARDS.items():
        (folder / name).write_text(board.text(), "utf-8")
    return [folder / name for name in BOARDS]
