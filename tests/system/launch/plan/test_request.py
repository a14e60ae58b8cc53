import pytest

from system.foundation.errors import RecipeError
from system.launch.plan.answer import ROOT
from system.launch.plan.request import ask
from system.launch.plan.request import help_page

DIGITS = ROOT / "configs" / "simflow_digits.yaml"


def test_keys_of_the_plan_and_of_the_recipe_come_on_one_line() -> None:
    resolved, planning = ask(DIGITS, ["plan.mfu=0.5", "run.seed=3", "plan.counts=[8,16]"])
    assert resolved.recipe.run.seed == 3
    assert (planning.mfu, planning.counts) == (0.5, (8, 16))


def test_the_first_file_is_the_recipe_where_none_is_embedded() -> None:
    resolved, _ = ask(None, [str(DIGITS), str(ROOT / "configs" / "smoke.yaml")])
    assert resolved.recipe.run.total_images < 100_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan.mfu=2"], "mfu"),
        (["plan.mfo=0.5"], "mfu"),
        (["plan.images_per_gpu_s=10"], r"name it with plan\.gpus"),
        (["run.sed=1"], "run.seed"),
    ],
)
def test_what_is_not_understood_is_refused(arguments, said) -> None:
    with pytest.raises(RecipeError, match=said):
        ask(DIGITS, arguments)


def test_without_a_recipe_there_is_nothing_to_plan() -> None:
    with pytest.raises(RecipeError, match="no recipe to plan"):
        ask(None, [])


def test_the_help_page_names_every_key_as_it_is_given() -> None:
    page = help_page("About.")
    assert page.startswith("About.")
    assert "plan.usable_memory=0.9" in page
