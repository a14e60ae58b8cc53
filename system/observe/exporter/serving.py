"""What `jobs/exporter.py` is told, and the server that answers Prometheus."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from prometheus_client import CollectorRegistry
from prometheus_client import start_http_server
from pydantic import Field

from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import Record
from system.observe.exporter.collector import FleetCollector


class Exporting(Record):
    """Which runs are exported, and where."""

    root: str = Field("runs", description="folder or url that holds runs (any fsspec url)")
    host: str = Field(
        "127.0.0.1",
        description="address to listen at; 0.0.0.0 shows the numbers to everybody who reaches it",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        9464, description="port to listen at; 0: any free one, which is printed"
    )
    every_s: PositiveFloat = Field(15.0, description="seconds between two looks at the ledgers")
    price_per_worker_hour: Annotated[float, Field(ge=0)] | None = Field(
        None, description="what a worker costs by the hour, in USD; null: no cost is shown"
    )


@contextmanager
def serving(settings: Exporting) -> Iterator[str]:
    """Answer scrapes at the url that this yields until the end of the block.

    Raises BadInput where the address cannot be listened at.
    """
    collector = FleetCollector(
        storage.absolute(settings.root), price_per_worker_hour=settings.price_per_worker_hour
    )
    collected = CollectorRegistry(auto_describe=False)
    collected.register(collector)
    try:
        server, thread = start_http_server(settings.port, settings.host, collected)
    except OSError as error:
        raise BadInput(
            f"{settings.host}:{settings.port} cannot be listened at ({error.strerror}): give "
            "another port=, or 0 for any free one"
        ) from error
    reader = threading.Thread(target=_follow, args=(collector, settings.every_s), daemon=True)
    reader.start()
    try:
        yield f"http://{settings.host}:{server.server_address[1]}/metrics"
    finally:
        collector.stop()
        server.shutdown()
        server.server_close()
        thread.join()
        reader.join(settings.every_s)


def _follow(collector: FleetCollector, every_s: float) -> None:
    collector.read()
    collector.follow(every_s)


def serve(settings: Exporting) -> None:
    """Answer scrapes until the program is ended."""
    with serving(settings) as url:
        print(f"runs under {settings.root} at {url}", flush=True)
        threading.Event().wait()
