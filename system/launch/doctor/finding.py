"""One line of an examination: what was looked at, how it is, and what cures it."""

from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.console import Group
from rich.text import Text

State = Literal["ok", "warning", "failure"]
COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "failure": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. A cure is there where something is wrong."""

    name: str
    state: State
    said: str
    cure: str = ""


def ok(name: str, said: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", said)


def warning(name: str, said: str, cure: str) -> Finding:
    """A run works, but not as well as it could."""
    return Finding(name, "warning", said, cure)


def failure(name: str, said: str, cure: str) -> Finding:
    """A run does not work."""
    return Finding(name, "failure", said, cure)


def examined(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a check finds. One that breaks is a failure of its own: the others go on."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:  # whatever a library raises, the patient is to hear of it
        said = str(error).strip() or type(error).__name__
        found.append(failure(name, said, "mend what the message names, then ask again"))
    return found


def shown(findings: Iterable[Finding]) -> Group:
    """All of them for a terminal, with the cure below what needs one."""
    lines = []
    for each in findings:
        line = Text(f"{each.state:<8}", COLOURS[each.state])
        lines.append(line.append(f" {each.name:<16} {each.said}", "default"))
        if each.cure:
            lines.append(Text(f"{'':<8} {'':<16} → {each.cure}", "italic"))
    return Group(*lines)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 where anything fails, else 0."""
    return int(any(each.state == "failure" for each in findings))
