"""What `jobs/report.py` is asked, and how it answers: the page of a run, written to its folder."""

from pydantic import Field

from system.foundation import storage
from system.foundation.settings.record import Record
from system.observe.report.folder import read_folder
from system.observe.report.page import page

NAME = "report.html"


class Reporting(Record):
    """The runs to show, and where the page goes."""

    run: str | tuple[str, ...] = Field(
        "runs/digits", description="a run's folder or url; or several, [a, b], side by side"
    )
    out: str | None = Field(
        None, description=f"path or url of the page; null is {NAME} in the (first) run's folder"
    )


def write_report(request: Reporting) -> str:
    """Write the page and return the url it has. Raises BadInput where there is no run."""
    urls = (request.run,) if isinstance(request.run, str) else request.run
    content = page([read_folder(url) for url in urls])
    place = request.out or storage.join(urls[0], NAME)
    storage.write_bytes(place, content.encode())
    return place
