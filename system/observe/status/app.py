"""The status page's server: a page, its files, and what has changed, over HTTP on this machine.

It reads runs' folders and writes nothing: training never waits for it or hears of it. What cannot
be read is said in words on the page; no answer is an error of the server's.
"""

import contextlib
import threading
import time
from collections.abc import AsyncIterator
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.responses import JSONResponse
from starlette.responses import Response
from starlette.routing import Route

from system.foundation.errors import TrainingSystemError
from system.observe.status.shell import LIVE_POLICY
from system.observe.status.shell import TYPES
from system.observe.status.shell import address
from system.observe.status.shell import asset
from system.observe.status.shell import live_page
from system.observe.status.shell import packed
from system.observe.status.watch import Watch

FOREVER = "public, max-age=31536000, immutable"
HEADERS = {
    "Content-Security-Policy": LIVE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(watch: Watch, *, refresh_s: float, hosts: Sequence[str] = ("*",)) -> Starlette:
    """The server's application. `hosts` are the names that it answers to: a page of elsewhere
    cannot reach it by a name of its own that points here."""

    @contextlib.asynccontextmanager
    async def looking(_: Starlette) -> AsyncIterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=watch.keep_looking, args=(stop,), name="look", daemon=True)
        thread.start()
        yield
        stop.set()

    def page(_: Request) -> Response:
        content = {"fleet": _dated(watch.changes.since(None))}
        return HTMLResponse(live_page(content, refresh_s=refresh_s), headers=HEADERS)

    def fleet(request: Request) -> Response:
        return _json(watch.changes.since(request.query_params.get("since")))

    def run(request: Request) -> Response:
        name = request.query_params.get("name", "")
        watched = watch.run(name)
        if watched is None:
            return _json({"fault": f"There is no run {name!r} under {watch.root} (any more)."})
        return _json(watched.changes.since(request.query_params.get("since")))

    def grid(request: Request) -> Response:
        watched = watch.run(request.query_params.get("run", ""))
        images = request.query_params.get("images", "")
        try:
            found = watched.strips.grid(int(images)) if watched and images.isdecimal() else None
        except (TrainingSystemError, OSError) as problem:
            return _json({"fault": str(problem)})
        return _json({"picture": found} if found else {"fault": "There is no such picture."})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/fleet", fleet),
            Route("/api/run", run),
            Route("/api/grid", grid),
            Route("/assets/{digest}/{name}", _asset),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=1),
        ],
        lifespan=looking,
    )


def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    try:
        content = asset(name)
    except KeyError:
        return Response("There is no such file.", status_code=404, headers=HEADERS)
    is_current = request.url.path == address(name)
    headers = HEADERS | {"Cache-Control": FOREVER if is_current else "no-store"}
    headers["Vary"] = "Accept-Encoding"
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = packed(name), "gzip"
    return Response(content, media_type=TYPES["." + name.rpartition(".")[2]], headers=headers)


def _json(content: dict[str, Any]) -> Response:
    return JSONResponse(_dated(content), headers=HEADERS)


def _dated(content: dict[str, Any]) -> dict[str, Any]:
    """With the server's time: ages are counted from that, whatever the reader's clock says."""
    return {**content, "now": time.time()}
