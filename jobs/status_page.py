"""Show the runs of a root in a browser, live, or write them into one HTML file.

    python jobs/status_page.py runs
    python jobs/status_page.py root=s3://bucket/runs port=8090
    python jobs/status_page.py root=runs once=page.html
    python jobs/status_page.py root=runs once=s3://bucket/status/page.html

State, images per second, gFID with its error, goodput and restarts of every run; of each its curves
over the images seen, the pictures it drew from the same noise, where its time went, what went
wrong, its recipe with where each value came from, and the commands that resume, stop and export it;
runs beside one another; campaigns. It needs no network and no other program, reads folders alone at
any url, and goes on by itself as they grow. Listens on loopback unless `host` says otherwise. One
core; a large root takes some seconds to read the first time.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.status.showing import Showing
from system.observe.status.showing import show


def main(resolved: Resolved[Showing]) -> None:
    """Listen, or write the file."""
    show(resolved.recipe)


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Showing, bare="root")
