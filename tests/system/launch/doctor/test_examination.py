import pytest

from system.foundation.errors import RecipeError
from system.launch.doctor.examination import print_examination


def test_everything_is_looked_at_and_a_failure_is_the_exit_code(
    capsys, tmp_path, shards, monkeypatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = [f"run.root={tmp_path}", "cluster.device=cpu", "wandb.mode=disabled"]
    code = print_examination([*settings, f"data.shards={shards}"])
    told = capsys.readouterr().out
    for name in ("libraries", "cuda", "deepspeed build", "ray", "ray access", "storage", "commit",
                 "clock", "wandb", "disk space", "shared memory", "open files", "processors",
                 "data"):  # fmt: skip
        assert f" {name} " in told
    assert code == int("\nfailure" in told)
    assert print_examination([*settings, f"data.shards={tmp_path}/none"]) == 1


def test_settings_that_are_not_valid_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"run\.seed"):
        print_examination(["run.sed=1"])
