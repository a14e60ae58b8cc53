from system.foundation.config import resolve
from system.observe.status.recipe_table import UNKNOWN
from system.observe.status.recipe_table import recipe_rows
from tests.recipes import CONFIGS


def test_every_key_stands_with_its_value_and_where_that_came_from():
    resolved = resolve(
        CONFIGS / "simflow_digits.yaml", [str(CONFIGS / "smoke.yaml"), "run.seed=7", "run.name=x"]
    )
    rows = {r["key"]: r for r in recipe_rows(resolved.to_yaml(), [{"origins": resolved.sources}])}
    assert rows["run.seed"] == {"key": "run.seed", "value": "7", "origin": "command line"}
    assert rows["flow.depths"]["value"] == "[1, 3]"
    assert "smoke.yaml:" in rows["flow.depths"]["origin"]
    assert "simflow_digits.yaml:" in rows["data.image_size"]["origin"]
    assert rows["data.prefetch"]["origin"] == "default"
    assert rows["objective.perceptual.kind"]["value"] == "none"


def test_the_newest_start_counts_and_what_nobody_wrote_down_is_said():
    text = "run:\n  name: a\n  seed: 1\n"
    starts = [{"origins": {"run.name": "default"}}, {"origins": {"run.seed": "command line"}}]
    name, seed = recipe_rows(text, starts)
    assert (name["origin"], seed["origin"]) == (UNKNOWN, "command line")
    assert {row["origin"] for row in recipe_rows(text, [{"origins": "odd"}])} == {UNKNOWN}
    assert {row["origin"] for row in recipe_rows(text, [])} == {UNKNOWN}


def test_a_recipe_that_cannot_be_read_has_no_rows():
    for text in (None, "", "a: [", "just a word", "run:\n  a: 1\n  a: 2\n"):
        assert recipe_rows(text, []) == []
