"""The page's HTML around what changes: with links to its files, or with all of them inside it.

The script makes every element by itself and puts texts into it as texts, so that nothing a run is
called or says is ever read as HTML. The policy in the page's head lets it load nothing from
elsewhere, and in a file of its own run no script but those that were written into it.
"""

import base64
import gzip
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import plotly
from jinja2 import Environment
from jinja2 import PackageLoader
from jinja2 import select_autoescape
from markupsafe import Markup

from system.observe.report.style import STYLE

PLOTTING = "plotly.min.js"
SCRIPTS = ("elements.js", "source.js", "charts.js", "fleet.js", "run.js", "compare.js",
           "campaign.js", "page.js")  # fmt: skip
ALL_SCRIPTS = "scripts.js"  # as one file: a request each is what a busy server is slow at
SHEET = "page.css"
TYPES = {".js": "text/javascript", ".css": "text/css"}

# Plotly writes style elements; scripts are the page's own alone.
LIVE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@cache
def asset(name: str) -> bytes:
    """One of the files that the page loads. Raises KeyError for any other name."""
    if name == PLOTTING:
        return (Path(plotly.__file__).parent / "package_data" / PLOTTING).read_bytes()
    if name == ALL_SCRIPTS:
        return b"\n".join(asset(each) for each in SCRIPTS)
    if name not in (*SCRIPTS, SHEET):
        raise KeyError(name)
    content = files("system.observe.status").joinpath("assets", name).read_bytes()
    return STYLE.encode() + content if name == SHEET else content


@cache
def packed(name: str) -> bytes:
    """The same, compressed once: Plotly is large, and nobody else is served meanwhile."""
    return gzip.compress(asset(name), compresslevel=1, mtime=0)


@cache
def address(name: str) -> str:
    """A file's address, with a digest of its content: it may be kept for ever."""
    return f"/assets/{hashlib.sha256(asset(name)).hexdigest()[:16]}/{name}"


def live_page(content: dict[str, Any], *, refresh_s: float) -> str:
    """The page of the server: the table of runs is in it, all else is asked for, Plotly when there
    is a chart to draw."""
    return _template().render(
        policy=None,
        sheet=address(SHEET),
        style=None,
        links=[address(ALL_SCRIPTS)],
        scripts=[],
        content={
            **content,
            "live": True,
            "refresh_ms": round(1000 * refresh_s),
            "plotting": address(PLOTTING),
        },
        title="Runs",
    )


def whole_page(content: dict[str, Any], title: str) -> str:
    """The page as one file, with everything inside."""
    scripts = [asset(name).decode() for name in (PLOTTING, *SCRIPTS)]
    assert not any("</script" in script for script in scripts)
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return _template().render(
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'",
        sheet=None,
        style=Markup(asset(SHEET).decode()),  # noqa: S704 (our own file)
        links=[],
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        content={**content, "live": False},
        title=title,
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("system.observe.status", "assets"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
