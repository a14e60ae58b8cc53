import sys

from system.engine.operators import build_tools
from system.engine.operators import operators


def test_deepspeeds_operators_are_named_and_nothing_is_printed(capsys) -> None:
    found = operators()
    assert found
    assert len({each.name for each in found}) == len(found)
    assert capsys.readouterr().out == ""


def test_the_compiler_is_the_one_that_builds_would_take(monkeypatch) -> None:
    assert set(build_tools()) == {"compiler", "ninja"}
    monkeypatch.setenv("CXX", f"{sys.executable} -B")
    assert build_tools()["compiler"] == sys.executable
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build_tools()["compiler"] is None
