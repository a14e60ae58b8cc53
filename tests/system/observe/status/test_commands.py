from system.observe.status.commands import commands

DRIVER = {"kind": "driver_started", "time": 1.0, "host": "node-7", "process": 4242}
SAVED = {"kind": "checkpoint", "time": 2.0, "checkpoint": "runs/a b/checkpoints/000000000016-1"}


def by_name(url, starts, events):
    return {each["for"]: each for each in commands(url, starts, events)}


def test_a_run_of_a_shell_is_resumed_where_it_was_started_and_stopped_by_its_process():
    start = {"arguments": ["jobs/simflow_digits.py", "run.name=a b"], "folder": "/home/me/the tree"}
    found = by_name("runs/a b", [{}, start], [DRIVER, SAVED])
    assert found["resume"]["command"] == (
        "cd '/home/me/the tree' && python jobs/simflow_digits.py 'run.name=a b'"
    )
    assert found["stop"]["command"] == "kill -TERM 4242"
    assert "node-7" in found["stop"]["says"]
    assert found["export"]["command"] == (
        "python jobs/export_weights.py 'checkpoint=runs/a b/checkpoints/000000000016-1' "
        "'out=released/a b'"
    )


def test_a_run_of_a_job_is_submitted_again_and_stopped_by_ray():
    start = {"arguments": ["jobs/simflow_digits.py"], "job": "raysubmit_1", "folder": "/tmp/pkg"}
    found = by_name("s3://b/runs/x", [start], [DRIVER])
    assert found["resume"]["command"] == (
        "ray job submit --working-dir . -- python jobs/simflow_digits.py"
    )
    assert found["stop"]["command"] == "ray job stop raysubmit_1"
    assert "checkpoint=s3://b/runs/x" in found["export"]["command"]


def test_nothing_is_made_up_and_no_name_becomes_a_command_of_its_own():
    assert "resume" not in by_name("r", [], [])
    assert "stop" not in by_name("r", [], [])
    assert "resume" not in by_name("r", [{"arguments": "rm -rf"}], [])
    assert by_name("runs/$(rm x);y", [], [])["report"]["command"] == (
        "python jobs/report.py 'run=runs/$(rm x);y'"
    )
