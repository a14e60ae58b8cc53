import json

from system.foundation.recipe import Recipe
from system.launch.command import run
from system.launch.plan.answer import ROOT
from system.launch.plan.answer import print_plan

TINY = ["autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8"]
DIGITS = "configs/simflow_digits.yaml"


def test_a_recipe_is_planned_from_the_command_line(capsys, tmp_path) -> None:
    written = tmp_path / "plan.json"
    asked = ["plan.gpus=[A100-80GB]", f"plan.json_file={written}"]
    assert print_plan(ROOT / DIGITS, [*TINY, *asked]) == 0
    assert "digits: 100,000 images" in capsys.readouterr().out
    assert json.loads(written.read_text())["rows"][0]["gpu"] == "A100-80GB"


def test_a_plan_that_cannot_work_leaves_with_1(capsys) -> None:
    assert print_plan(ROOT / DIGITS, [*TINY, "plan.usable_memory=1e-5"]) == 1
    assert "works on none of these GPUs" in capsys.readouterr().out


def test_every_recipes_program_knows_the_flag(capsys) -> None:
    def never(resolved):
        raise AssertionError("nothing is to be run")

    arguments = [*TINY, "--plan", "plan.gpus=[A100-80GB]"]
    assert run(never, DIGITS, about="", schema=Recipe, arguments=arguments) == 0
    assert "A100-80GB" in capsys.readouterr().out
    assert run(never, DIGITS, about="", schema=Recipe, arguments=["--plan", "--other"]) == 2
    assert run(never, DIGITS, about="", schema=Recipe, arguments=["--help"]) == 0
    assert "--plan: say what it needs" in capsys.readouterr().out
