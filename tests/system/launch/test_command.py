"""What a program of `jobs/` says and with which code it leaves."""

import os
import signal
from contextlib import suppress

import pytest
from pydantic import Field

from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import NumericsError
from system.foundation.errors import Preempted
from system.foundation.errors import StorageError
from system.foundation.settings.record import Record
from system.launch.command import command
from system.launch.command import run


class Settings(Record):
    """What the program under test is asked."""

    count: int = Field(1, ge=0, description="how many")


def leave_with(result):
    def main(resolved):
        if isinstance(result, BaseException):
            raise result
        return result

    return main


@pytest.mark.parametrize(
    ("result", "arguments", "code", "said"),
    [
        (None, [], 0, ""),
        (0, ["count=3"], 0, ""),
        (5, [], 5, ""),
        (ClusterError("two CPUs"), [], 2, "cluster error: two CPUs\n"),
        (NumericsError("not finite"), [], 3, "numerics error: not finite\n"),
        (DataError("no shards"), [], 4, "data error: no shards\n"),
        (StorageError("bucket gone"), [], 5, "storage error: bucket gone\n"),
        (Preempted("node drained"), [], 75, "preempted: node drained\n"),
        (KeyboardInterrupt(), [], 130, "interrupted; what was started is stopped\n"),
        (None, ["cout=3"], 2, "count"),
        (None, ["count=-3"], 2, "count"),
        (None, ["--count", "3"], 2, "found --count among the arguments"),
    ],
)
def test_exit_codes_and_messages(result, arguments, code, said, capsys):
    assert run(leave_with(result), None, about="", schema=Settings, arguments=arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_what_nobody_foresaw_keeps_its_traceback(capsys):
    main = leave_with(ValueError("surprise"))
    assert run(main, None, about="", schema=Settings, arguments=[]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_help_is_the_docstring_and_every_key(capsys):
    code = run(leave_with(3), None, about="What it does.", schema=Settings, arguments=["--help"])
    page = capsys.readouterr().out
    assert code == 0
    assert page.startswith("What it does.\n\nusage: python jobs/")
    assert "count" in page
    assert "how many" in page


def test_help_shows_the_values_that_the_other_arguments_give(capsys):
    arguments = ["count=7", "--help"]
    assert run(leave_with(3), None, about="", schema=Settings, arguments=arguments) == 0
    assert "count=7" in capsys.readouterr().out
    refused = ["cout=7", "--help"]
    assert run(leave_with(3), None, about="", schema=Settings, arguments=refused) == 2
    assert "count" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["7", "other=x"], 7), (["count=7"], 7), (["other=x"], 1), (["7", "8"], 2), ([], 1)],
)
def test_a_first_argument_may_come_without_its_key(arguments, code):
    class Two(Settings):
        other: str = "y"

    with pytest.raises(SystemExit) as left:
        command(
            lambda resolved: resolved.recipe.count,
            None,
            about="",
            schema=Two,
            arguments=arguments,
            bare="count",
        )
    assert left.value.code == code


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 75, "terminated"), (signal.SIGHUP, 130, "interrupted")],
)
def test_termination_unwinds_like_an_interrupt(capsys, number, code, said):
    before, unwound = signal.getsignal(number), []

    def main(resolved):
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            unwound.append(number)
            raise

    with pytest.raises(SystemExit) as left:
        command(main, None, about="", schema=Settings, arguments=[])
    assert left.value.code == code
    assert unwound == [number]
    assert signal.getsignal(number) == before
    assert f"{said}; what was started is stopped" in capsys.readouterr().err


def test_a_wait_of_rays_that_is_terminated_is_no_interrupt(capsys):
    def main(resolved):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt  # what Ray raises instead, from within `ray.get`

    with pytest.raises(SystemExit) as left:
        command(main, None, about="", schema=Settings, arguments=[])
    assert left.value.code == 75
    assert "terminated; what was started is stopped" in capsys.readouterr().err


def test_a_page_may_be_read_in_part(program):
    shown = program("jobs/quickstart.py", "--help")
    reader, shown.stdout = shown.stdout, None
    reader.close()
    assert shown.wait(timeout=120) == 0


def test_a_job_explains_itself(program):
    shown = program("jobs/quickstart.py", "--help")
    page, _ = shown.communicate(timeout=120)
    assert shown.returncode == 0, page
    for key in ("run.total_images", "engine.zero_stage", "evaluation.guidance", "port"):
        assert key in page


@pytest.mark.parametrize("error", [StorageError, ValueError])
def test_no_message_shows_a_credential(error, capsys):
    main = leave_with(error("cannot read s3://KEY:hush-hush@bucket/x?token=hush-hush"))
    assert run(main, None, about="", schema=Settings, arguments=[]) in (1, 5)
    shown = capsys.readouterr().err
    assert "s3://***@bucket/x?token=***" in shown
    assert "hush" not in shown


@pytest.mark.parametrize(
    "arguments", [["s3://KEY:hush-hush@bucket/x"], ["cout=s3://KEY:hush-hush@bucket/x"]]
)
def test_settings_that_are_not_understood_show_none_either(arguments, capsys):
    assert run(leave_with(0), None, about="", schema=Settings, arguments=arguments) == 2
    assert "hush" not in capsys.readouterr().err
