from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from system.foundation.config import INDIFFERENT_KEYS
from system.foundation.config import describe
from system.foundation.config import flatten
from system.foundation.config import recipe_digest
from system.foundation.config import recipe_from_mapping
from system.foundation.config import record_from_mapping
from system.foundation.config import resolve
from system.foundation.errors import RecipeError
from system.foundation.keys import keys
from system.foundation.recipe import Recipe

MINIMAL = "size: {width: 8}\nsource: {kind: digits}\n"
DIGITS = Path(__file__).parents[3] / "configs" / "simflow_digits.yaml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(MINIMAL)
    return tmp_path


def values(schema: type[BaseModel], *arguments: str) -> dict[str, Any]:
    return dict(flatten(resolve(Path("r.yaml"), arguments, schema).recipe))


def problem(schema: type[BaseModel], *arguments: str) -> str:
    with pytest.raises(RecipeError) as caught:
        resolve(Path("r.yaml"), arguments, schema)
    return str(caught.value)


def test_the_command_line_lies_over_overlays_over_the_recipe(
    schema: type[BaseModel], here: Path
) -> None:
    (here / "o.yaml").write_text("size:\n  width: 16\n  limit: 3\nflag: true\n")
    resolved = resolve(Path("r.yaml"), ["size.limit=4", "o.yaml"], schema)
    flat = flatten(resolved.recipe)
    assert (flat["size.width"], flat["size.limit"], flat["flag"]) == (16, 4, True)
    assert {
        key: resolved.sources[key] for key in ("size.width", "size.limit", "flag", "stage")
    } == {
        "size.width": "o.yaml:2",
        "size.limit": "command line",
        "flag": "o.yaml:4",
        "stage": "default",
    }
    assert resolved.sources["source.kind"] == "r.yaml:2"
    assert list(resolved.sources) == list(flat)


def test_changing_a_kind_forgets_what_the_other_kind_was_told(
    schema: type[BaseModel], here: Path
) -> None:
    (here / "r.yaml").write_text(MINIMAL + "optimiser: {kind: adam, rate: 0.5}\n")
    assert values(schema)["optimiser.rate"] == 0.5
    changed = values(schema, "optimiser.momentum=0.8", "optimiser.kind=muon")
    assert changed["optimiser.rate"] == 0.02
    assert changed["optimiser.momentum"] == 0.8


def test_values_have_the_type_that_was_meant(schema: type[BaseModel]) -> None:
    assert values(schema, "size.width=2e2")["size.width"] == 200
    assert values(schema, "name=007")["name"] == "007"
    assert values(schema, "size.depths=[3, 4.0]")["size.depths"] == "[3, 4]"
    assert values(schema, "optimiser.beta=1")["optimiser.beta"] == 1.0
    assert values(schema, "size.limit=null")["size.limit"] is None
    assert values(schema, "size.limit=")["size.limit"] is None
    assert values(schema, "weights={a: 1}")["weights.a"] == 1.0


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "size.widht=3",
            "command line: size.widht: unknown key (found 3); did you mean size.width?",
        ),
        (
            "widht=3",
            "command line: widht: unknown key (found 3); did you mean size.width or extra.width?",
        ),
        ("sizes.width=3", "command line: sizes: unknown key; did you mean size?"),
        ("zzz=3", "command line: zzz: unknown key (found 3); --help lists every key"),
        (
            "optimiser.momentum=1",
            "command line: optimiser.momentum: unknown key (found 1): kind adam has none; "
            "kind muon has",
        ),
        (
            "optimiser.kind=moun",
            "command line: optimiser.kind: found moun; expected adam | muon; did you mean muon?",
        ),
        (
            "size.width=0",
            "command line: size.width: found 0; expected whole number > 0 and <= 4096 (channels)",
        ),
        (
            "size.width=true",
            "command line: size.width: found true; expected whole number > 0 and <= 4096 "
            "(channels)",
        ),
        (
            "size.width=1.5",
            "command line: size.width: found 1.5; expected whole number > 0 and <= 4096 (channels)",
        ),
        ("flag=yes", "command line: flag: found 'yes'; expected true | false (a truth value)"),
        ("stage=5", "command line: stage: found 5; expected 0 | 1 | 2 (a choice)"),
        (
            "name=true",
            "command line: name: found true; expected text matching ^[a-z0-9]+$ (its name)",
        ),
        ("name=A", "command line: name: found A; expected text matching ^[a-z0-9]+$ (its name)"),
        (
            "size.distance.kind=l3",
            "command line: size.distance.kind: found l3; expected l1 | l2",
        ),
        (
            "optimiser.rate=.nan",
            "command line: optimiser.rate: found .nan; expected number > 0 (learning rate)",
        ),
        (
            "size.depths=[1, -2]",
            "command line: size.depths[1]: found -2; expected list of whole number > 0 "
            "(layers of each)",
        ),
        ("size=3", "command line: size: found 3; expected a section of keys"),
        ("source={url: x}", "command line: source: kind is missing; expected folder | digits"),
        (
            "source={kind: folder}",
            "command line: source.url: missing; expected text (where it is)",
        ),
        (
            "name=${env:NO_SUCH_NAME}",
            "command line: name: the environment has no NO_SUCH_NAME; set it, or give name "
            "another value",
        ),
    ],
)
def test_what_is_wrong_is_said_so_that_it_can_be_mended(
    schema: type[BaseModel], argument: str, message: str, here: Path
) -> None:
    (here / "r.yaml").write_text("size: {width: 8}\n" if "source" in argument else MINIMAL)
    assert problem(schema, argument) == message


def test_everything_wrong_is_said_at_once_with_its_line(
    schema: type[BaseModel], here: Path
) -> None:
    (here / "o.yaml").write_text("size:\n  width: wide\n  depht: 3\n")
    assert problem(schema, "o.yaml", "stage=9", "name=${env:NO_SUCH_NAME}").splitlines() == [
        "4 problems in the settings:",
        "  command line: name: the environment has no NO_SUCH_NAME; set it, or give name another "
        "value",
        "  command line: stage: found 9; expected 0 | 1 | 2 (a choice)",
        "  o.yaml:2: size.width: found wide; expected whole number > 0 and <= 4096 (channels)",
        "  o.yaml:3: size.depht: unknown key (found 3); did you mean size.depths?",
    ]


def test_files_that_cannot_be_read_are_all_named(schema: type[BaseModel], here: Path) -> None:
    (here / "twice.yaml").write_text("stage: 1\nstage: 2\n")
    assert problem(schema, "twice.yaml", "none.yaml", "oops").splitlines() == [
        "3 problems in the settings:",
        "  twice.yaml:2: stage: given twice (first at line 1); keep one of them",
        "  none.yaml: no such file; . has r.yaml, twice.yaml",
        "  command line: oops: not understood; expected an overlay such as configs/smoke.yaml, "
        "or a setting such as run.seed=1",
    ]


def test_the_environment_is_read(schema: type[BaseModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIDTH", "64")
    resolved = resolve(Path("r.yaml"), ["size.width=${env:WIDTH}"], schema)
    assert flatten(resolved.recipe)["size.width"] == 64
    assert resolved.sources["size.width"] == "command line, with WIDTH of the environment"


def test_an_unset_name_of_the_environment_is_never_taken_as_a_text(
    schema: type[BaseModel],
) -> None:
    message = problem(schema, "source.kind=folder", "source.url=s3://${env:NO_SUCH_NAME}/x")
    assert message == (
        "command line: source.url: the environment has no NO_SUCH_NAME; set it, or give "
        "source.url another value"
    )


def test_a_record_needs_no_file(schema: type[BaseModel]) -> None:
    resolved = resolve(None, ["size.width=4", "source.kind=digits"], schema)
    assert flatten(resolved.recipe)["size.width"] == 4
    with pytest.raises(RecipeError, match=r"command line: size\.width: missing; expected whole"):
        resolve(None, ["source.kind=digits"], schema)


def test_what_is_written_resolves_to_the_same(schema: type[BaseModel], here: Path) -> None:
    first = resolve(Path("r.yaml"), ["name=1e5", "optimiser.kind=muon", "size.limit=2"], schema)
    (here / "written.yaml").write_text(first.to_yaml())
    second = resolve(Path("written.yaml"), [], schema)
    assert second.recipe == first.recipe
    assert "default" not in second.sources.values()


def test_flat_keys_are_settings(schema: type[BaseModel]) -> None:
    first = resolve(Path("r.yaml"), ["size.depths=[5, 6, 7]"], schema).recipe
    flat = {key: value for key, value in flatten(first).items() if value is not None}
    arguments = [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in flat.items()
        if key not in ("extra", "weights")
    ]
    assert resolve(None, arguments, schema).recipe == first


def test_records_cross_as_plain_values(schema: type[BaseModel]) -> None:
    record = resolve(Path("r.yaml"), ["optimiser.kind=muon"], schema).recipe
    assert record_from_mapping(record.model_dump(mode="json"), schema) == record
    with pytest.raises(RecipeError, match=r"the mapping: size\.wdth: unknown key"):
        record_from_mapping({"size": {"wdth": 3, "width": 3}, "source": {"kind": "digits"}}, schema)


def test_a_recipe_crosses_as_plain_values() -> None:
    recipe = resolve(DIGITS, []).recipe
    assert recipe_from_mapping(recipe.model_dump(mode="json")) == recipe


def test_rules_between_keys_name_where_each_was_given() -> None:
    with pytest.raises(RecipeError) as caught:
        resolve(DIGITS, ["run.global_batch=9", "cluster.workers=2"])
    assert "run.global_batch 9 not divisible by cluster.workers 2" in str(caught.value)
    assert "run.global_batch from command line, cluster.workers from command line" in str(
        caught.value
    )


def test_the_digest_changes_with_the_numbers_only() -> None:
    def digest(*arguments: str) -> str:
        return recipe_digest(resolve(DIGITS, arguments).recipe)

    same = digest()
    assert len(same) == 16
    assert digest("run.name=other", "run.root=elsewhere", "cluster.workers=1") == same
    assert digest("evaluation.kind=none", "wandb.mode=disabled", "engine.zero_stage=0") == same
    changed = [
        digest(argument)
        for argument in ("run.seed=1", "flow.width=64", "engine.precision=fp32", "data.flip=true")
    ]
    assert len({same, *changed}) == 5


def test_every_indifferent_key_exists() -> None:
    known = {each.name for each in keys(Recipe)}
    for pattern in INDIFFERENT_KEYS:
        assert any(name == pattern or name.startswith(pattern.rstrip("*")) for name in known), (
            pattern
        )


def test_help_takes_a_record_or_what_was_resolved(schema: type[BaseModel]) -> None:
    resolved = resolve(Path("r.yaml"), [], schema)
    assert describe(resolved) == describe(resolved.recipe)
    assert "size.width=8" in describe(resolved)


@pytest.mark.parametrize("place", ["argument", "overlay", "environment", "list"])
def test_a_credential_in_a_url_is_refused_wherever_it_comes_from(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://KEY:hush-hush@bucket/runs"
    monkeypatch.setenv("RUNS_HERE", url)
    overlay = tmp_path / "over.yaml"
    overlay.write_text(f"run:\n  root: {url}\n")
    arguments = {
        "argument": [f"run.root={url}"],
        "overlay": [str(overlay)],
        "environment": ["run.root=${env:RUNS_HERE}"],
        "list": [f"engine.further_decays=[0.9, '{url}']", "run.nme=s3://KEY:hush-hush@b"],
    }[place]
    with pytest.raises(RecipeError, match="holds a url with a password") as refused:
        resolve(DIGITS, arguments)
    assert "hush" not in str(refused.value)
    assert "KEY" not in str(refused.value)
