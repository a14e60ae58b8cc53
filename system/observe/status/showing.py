"""What `jobs/status_page.py` is asked, and how it answers: a server, or one file."""

import ipaddress
import socket
from typing import Annotated
from typing import Any

import uvicorn
from pydantic import Field

from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import Record
from system.observe.status.app import application
from system.observe.status.shell import whole_page
from system.observe.status.watch import RUN
from system.observe.status.watch import Watch

FILE_POINTS = 200  # of a line in a file: it holds every run that it shows
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Showing(Record):
    """The runs to show, and where."""

    root: str = Field("runs", description="folder or url that holds runs (any fsspec url)")
    host: str = Field(
        "127.0.0.1",
        description="address to listen at; another than loopback shows all runs to whoever "
        "reaches it, without a login",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8090, description="port to listen at; 0 takes a free one and says which"
    )
    refresh_s: PositiveFloat = Field(2.0, description="seconds between two looks at the runs")
    once: str | None = Field(
        None, description="path or url of one HTML file to write instead of listening"
    )
    details: Annotated[int, Field(ge=0)] = Field(
        20, description="runs that such a file shows whole, those heard of last; of others a row"
    )


def show(request: Showing) -> None:
    """Write the file and say where it is, or listen until interrupted. Raises BadInput where the
    address is not to be had."""
    if request.once is not None:
        storage.write_bytes(request.once, written(request).encode())
        print(request.once)
        return
    watch = Watch(request.root, refresh_s=request.refresh_s)
    is_loopback = _is_loopback(request.host)
    hosts = [*LOOPBACK, request.host] if is_loopback else ["*"]
    app = application(watch, refresh_s=request.refresh_s, hosts=hosts)
    with _listening(request) as listener:
        port = listener.getsockname()[1]
        print(f"{watch.root} at http://{request.host}:{port}/", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")
        uvicorn.Server(config).run(sockets=[listener])


def written(request: Showing) -> str:
    """The page as one file, of what lies under the root now."""
    watch = Watch(request.root)
    watch.look()
    fleet = watch.changes.since(None)
    rows = [content for key, content in fleet["changed"].items() if key.startswith(RUN)]
    newest = sorted(rows, key=lambda row: row["heard"] or 0.0, reverse=True)[: request.details]
    runs: dict[str, Any] = {}
    for row in newest:
        watched = watch.run(row["name"], most_points=FILE_POINTS)
        if watched is not None:
            runs[row["name"]] = watched.changes.since(None)
    heard = max((row["heard"] or 0.0 for row in rows), default=0.0)
    content = {"fleet": fleet | {"now": heard}, "runs": runs}
    return whole_page(content, f"Runs of {watch.root}")


def _listening(request: Showing) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
        return socket.create_server((request.host, request.port), family=family)
    except OSError as error:
        raise BadInput(
            f"host={request.host} port={request.port}: cannot listen there ({error}); give another "
            "port, or port=0 for a free one"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
