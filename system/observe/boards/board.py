"""A board as records, and as the JSON that Grafana takes (its schema of version 11, number 41).

    Board("latent-flows-run", "Run", "...", ("run",), (Row("Losses", (panel, panel)),)).to_json()

Panels are laid out in rows from left to right; ids follow their order, so the same boards are
always the same files. Overrides of single series are not used: Grafana's own schema says of what
they need that it cannot be a text, and Grafana itself that it must.
"""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Literal

from system.observe.boards.query import live
from system.observe.boards.query import newest
from system.observe.boards.query import registered

SCHEMA_VERSION = 41
WIDTH, HEIGHT, TALL = 24, 7, 9
DATASOURCE = {"type": "prometheus", "uid": "$datasource"}

Look = Literal["timeseries", "stat", "table", "heatmap", "bargauge"]

# The registry's units in Grafana's words; a unit that is not here is written behind the number.
UNITS = {"": "short", "count": "short", "s": "s", "h": "h", "bytes": "bytes",
         "fraction": "percentunit", "USD": "currencyUSD", "dB": "dB"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Prometheus, and what its series are called."""

    expression: str
    legend: str = "{{run}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a board. `unit` is one of the registry."""

    title: str
    meaning: str
    queries: Sequence[Query]
    unit: str = ""
    look: Look = "timeseries"
    width: int = 8
    height: int = HEIGHT
    custom: Mapping[str, Any] = field(default_factory=dict)  # how lines are drawn
    decimals: int | None = None

    def to_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel at a place."""
        asked = [self._target(at, query) for at, query in enumerate(self.queries)]
        defaults: dict[str, Any] = {"unit": UNITS.get(self.unit, f"suffix: {self.unit}")}
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.look == "timeseries":
            defaults["custom"] = {"showPoints": "auto", "spanNulls": True, **self.custom}
        panel: dict[str, Any] = {
            "id": number,
            "type": self.look,
            "title": self.title,
            "description": self.meaning,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": asked,
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": _options(self.look),
        }
        if self.look == "table":
            panel["transformations"] = _as_one_table(self.queries)
        return panel

    def _target(self, at: int, query: Query) -> dict[str, Any]:
        shape = {"table": "table", "heatmap": "heatmap"}.get(self.look, "time_series")
        is_now = self.look in ("table", "stat", "bargauge")
        return {
            "refId": chr(ord("A") + at),
            "datasource": DATASOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            "format": shape,
            "instant": is_now,
            "range": not is_now,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """A board of Grafana. `variables` are labels to choose runs or campaigns by."""

    uid: str
    title: str
    meaning: str
    variables: Sequence[Literal["run", "campaign"]]
    rows: Sequence[Row]
    span: str = "now-6h"

    @property
    def queries(self) -> list[Query]:
        """All that the board asks."""
        return [query for row in self.rows for panel in row.panels for query in panel.queries]

    def to_json(self) -> dict[str, Any]:
        """The board as Grafana stores it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.meaning,
            "tags": ["latent-flows"],
            "timezone": "browser",
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "schemaVersion": SCHEMA_VERSION,
            "time": {"from": self.span, "to": "now"},
            "annotations": {"list": []},
            "links": [_LINKS],
            "templating": {"list": [_DATASOURCES, *(_choice(name) for name in self.variables)]},
            "panels": self._panels(),
        }

    def text(self) -> str:
        """The file that is committed."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"

    def _panels(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            made.append(
                {"id": len(made) + 1, "type": "row", "title": row.title, "collapsed": False,
                 "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []}
            )  # fmt: skip
            x, y, highest = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, highest = 0, y + highest, 0
                made.append(panel.to_json(len(made) + 1, x, y))
                x, highest = x + panel.width, max(highest, panel.height)
            y += highest
        return made


def plot(title: str, *names: str, width: int = 8, is_live: bool = False) -> Panel:
    """The courses of metrics of runs in one picture: explained by the registry."""
    metrics = [registered(name) for name in names]
    ask = live if is_live else newest
    meaning = "; ".join(f"{one.name}: {one.meaning}" for one in metrics)
    labels = [" ".join("{{" + label + "}}" for label in one.labels) for one in metrics]
    if len(names) > 1:
        labels = [
            f"{label} {name.partition('/')[2]}" for label, name in zip(labels, names, strict=True)
        ]
    queries = tuple(Query(ask(name), label) for name, label in zip(names, labels, strict=True))
    return Panel(title, meaning, queries, metrics[0].unit, width=width)


def _choice(label: str) -> dict[str, Any]:
    source = {"run": "run/info", "campaign": "campaign/info"}[label]
    query = f"label_values({registered(source).prometheus}, {label})"
    return {
        "name": label,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


_DATASOURCES = {"name": "datasource", "label": "data source", "type": "datasource",
                "query": "prometheus"}  # fmt: skip
_LINKS = {
    "title": "boards", "type": "dashboards", "tags": ["latent-flows"], "asDropdown": True,
    "icon": "dashboard", "tooltip": "", "url": "", "targetBlank": False, "includeVars": True,
    "keepTime": True,
}  # fmt: skip


def _options(look: Look) -> dict[str, Any]:
    if look == "timeseries":
        legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
        return {"legend": legend, "tooltip": {"mode": "multi", "sort": "none"}}
    if look in ("stat", "bargauge"):
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return {}


def _as_one_table(queries: Sequence[Query]) -> list[dict[str, Any]]:
    """One line for each run or trial, with a column for each query."""
    key = "trial" if any("{{trial}}" in query.legend for query in queries) else "run"
    names = {
        f"Value #{chr(ord('A') + at)}": query.legend.rpartition("}} ")[2]
        for at, query in enumerate(queries)
    }
    times = {f"Time {at}": True for at in range(1, len(queries) + 1)} | {"Time": True}
    return [
        {"id": "joinByField", "options": {"byField": key, "mode": "outer"}},
        {"id": "organize", "options": {"excludeByName": times, "renameByName": names}},
    ]
