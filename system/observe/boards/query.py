"""PromQL over registered metrics: a name that the registry does not have cannot be asked for.

Numbers of the exporter carry the labels `job` and `instance` beside those of the registry, and a
restarted exporter is another series; so a query always says by which labels it aggregates.
"""

from system.telemetry.metric import UNCERTAINTY
from system.telemetry.metric import Metric
from system.telemetry.metric import prometheus_name
from system.telemetry.metrics import METRICS

# Board variables. Both take several values and all of them.
SELECTED = {"run": "$run", "campaign": "$campaign"}


def selector(name: str, **equal: str) -> str:
    """The series of a metric of the runs or campaigns that are selected, where labels are equal."""
    metric = registered(name)
    assert equal.keys() <= set(metric.labels), (name, equal)
    uncertain = name != metric.name
    chosen = next((label for label in SELECTED if label in metric.labels), None)
    # A trial's run is chosen by its campaign.
    chosen = "campaign" if "campaign" in metric.labels else chosen
    matchers = [f'{label}="{value}"' for label, value in equal.items()]
    if chosen is not None:
        matchers.insert(0, f'{chosen}=~"{SELECTED[chosen]}"')
    bare = prometheus_name(name) if uncertain else metric.prometheus
    return f"{bare}{{{', '.join(matchers)}}}"


def newest(name: str, **equal: str) -> str:
    """A metric as the exporter shows it, one series for each combination of its labels."""
    metric = registered(name)
    by = [label for label in metric.labels if label not in equal]
    return f"max by ({', '.join(by)}) ({selector(name, **equal)})"


def live(name: str) -> str:
    """A run's metric as its driver tells Ray, and as the exporter shows it when that is gone."""
    assert registered(name).labels == ("run",), name
    return f"max by (run) (ray_{selector(name)}) or {newest(name)}"


def bound(name: str, sign: str) -> str:
    """A number plus or minus two standard errors."""
    return f"{newest(name)} {sign} 2 * {newest(name + UNCERTAINTY)}"


def registered(name: str) -> Metric:
    """The metric of a name, or of an uncertainty's name."""
    return METRICS[name.removesuffix(UNCERTAINTY)]
