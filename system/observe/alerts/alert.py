"""An alert as a record: when it fires, what it says, and series on which it does and does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import Literal

from system.telemetry.metrics import METRICS

RUNBOOK = "ops/runbook.md"

Severity = Literal["page", "warning"]
# A series, by its metric's name in the registry and further matchers, and its values every minute
# as `promtool` writes them: `1x60` is 61 times 1, `0+5x60` grows by 5.
Course = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule with what proves it: `fires` and `rests` are series of one hour and what it makes of
    them at minute `at`."""

    name: str
    expression: str
    minutes: int  # for how long it must hold
    severity: Severity
    summary: str  # `{run}` or `{campaign}` names whom it is about
    fires: Course
    rests: Course
    at: int = 60
    subject: Literal["run", "campaign", ""] = "run"
    more_labels: Mapping[str, str] | None = None  # that the firing one carries besides

    def rule(self) -> dict[str, Any]:
        """The rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": f"{self.minutes}m",
            "labels": {"severity": self.severity},
            "annotations": self._annotations("{{ $labels." + self.subject + " }}"),
        }

    def tests(self) -> list[dict[str, Any]]:
        """What `promtool test rules` is to find: the firing case, then the silent one."""
        labels: dict[str, str] = {"severity": self.severity}
        if self.subject:
            labels[self.subject] = "one"
        alert = {
            "exp_labels": labels | dict(self.more_labels or {}),
            "exp_annotations": self._annotations("one"),
        }
        return [self._test("fires", self.fires, [alert]), self._test("rests", self.rests, [])]

    def _annotations(self, subject: str) -> dict[str, str]:
        text = self.summary.replace("{run}", subject).replace("{campaign}", subject)
        return {"summary": text, "runbook": f"{RUNBOOK}#{self.name.lower()}"}

    def _test(self, case: str, course: Course, alerts: list[dict[str, Any]]) -> dict[str, Any]:
        told = [
            {"series": _series(name, self.subject, labels), "values": values}
            for (name, labels), values in course.items()
        ]
        return {
            "name": f"{self.name} {case}",
            "interval": "1m",
            "input_series": told,
            "alert_rule_test": [
                {"eval_time": f"{self.at}m", "alertname": self.name, "exp_alerts": alerts}
            ],
        }


def called(name: str, matchers: str = "") -> str:
    """A registered metric in an expression."""
    return METRICS[name].prometheus + (f"{{{matchers}}}" if matchers else "")


def _series(name: str, subject: str, labels: str) -> str:
    own = [f'{subject}="one"'] if subject else []
    return f"{called(name)}{{{', '.join([*own, *([labels] if labels else [])])}}}"
