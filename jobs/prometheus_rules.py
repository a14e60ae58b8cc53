"""Write Prometheus' alert rules and their tests anew, after `system/observe/alerts` has changed.

    python jobs/prometheus_rules.py && cd ops/prometheus
    promtool check rules rules.yaml && promtool test rules rules_test.yaml

Every rule has a case in which it fires and one in which it does not, and a section in
`ops/runbook.md`; tests compare all three. One core, a second.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.alerts.writing import Writing
from system.observe.alerts.writing import write_rules


def main(resolved: Resolved[Writing]) -> None:
    """Write them and say where they lie."""
    print(*write_rules(resolved.recipe), sep="\n")


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Writing, bare="out")
