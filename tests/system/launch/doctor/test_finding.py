import io

from rich.console import Console

from system.launch.doctor.finding import examined
from system.launch.doctor.finding import exit_code
from system.launch.doctor.finding import failure
from system.launch.doctor.finding import ok
from system.launch.doctor.finding import shown
from system.launch.doctor.finding import warning

ALL = [ok("disk", "large"), warning("clock", "slow", "set it"), failure("ray", "gone", "start it")]


def test_only_a_failure_fails() -> None:
    assert exit_code(ALL[:2]) == 0
    assert exit_code(ALL) == 1


def test_every_line_says_its_state_and_the_cure_stands_below() -> None:
    written = io.StringIO()
    Console(file=written, width=100).print(shown(ALL))
    lines = [line.split() for line in written.getvalue().splitlines()]
    assert lines == [
        ["ok", "disk", "large"],
        ["warning", "clock", "slow"],
        ["→", "set", "it"],
        ["failure", "ray", "gone"],
        ["→", "start", "it"],
    ]


def test_a_check_that_breaks_is_a_finding_and_what_it_found_before_stays() -> None:
    def check():
        yield ok("first", "fine")
        raise ValueError("surprise")

    first, second = examined("disk", check)
    assert first.state == "ok"
    assert (second.name, second.state, second.said) == ("disk", "failure", "surprise")
