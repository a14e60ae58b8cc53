"""Write the Grafana boards anew, after a metric or a board in `system/observe/boards` has changed.

    python jobs/grafana_boards.py
    python jobs/grafana_boards.py out=/etc/grafana/boards

Fleet, run and campaign as JSON; the same code always writes the same files, and a test compares
those that are committed. One core, a second.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.boards.writing import Writing
from system.observe.boards.writing import write_boards


def main(resolved: Resolved[Writing]) -> None:
    """Write them and say where they lie."""
    print(*write_boards(resolved.recipe), sep="\n")


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Writing, bare="out")
