import json

import pytest

from data_pipeline.pack.pack import pack
from data_pipeline.pack.pack_shard import pack_shard
from data_pipeline.pack.plan import plan
from data_pipeline.pack.unfinished import Unfinished
from data_pipeline.sources.source import open_source
from system.foundation.errors import DataError


@pytest.fixture
def state(photo_recipe, tmp_path):
    """A pack of which two shards are done: its recipe, state, plan, and what is done."""
    recipe = photo_recipe(tmp_path / "out")
    source = open_source(recipe.source)
    planned = {shard.name: shard for shard in plan(recipe, source.entries)}
    unfinished = Unfinished(recipe)
    assert unfinished.start(source) is None
    for name in [*planned][:2]:
        unfinished.keep(pack_shard(planned[name], recipe, source.reader, len(source.entries)))
    return recipe, unfinished, planned


def done(recipe, planned):
    """The names that another process finds done."""
    again = Unfinished(recipe)
    again.start(open_source(recipe.source))
    return [*again.done(planned)]


def test_what_is_done_is_found_with_all_its_rows(state):
    recipe, unfinished, planned = state
    first, second = [*planned][:2]
    found = unfinished.done(planned)
    assert {*found} == {first, second}
    source = open_source(recipe.source)
    made = pack_shard(planned[first], recipe, source.reader, len(source.entries))
    assert found[first].shard.index_digest == made.shard.index_digest
    assert found[first].shard.digest == made.shard.digest
    assert (found[first].sizes, found[first].read) == (made.sizes, made.read)
    assert found[first].report == made.report


def test_only_what_is_left_is_made(state, tmp_path):
    recipe, _, planned = state
    first, second = [*planned][:2]
    made = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in (first, second)}
    packed = pack(recipe)
    assert packed.report.packed == 24
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in made} == made
    assert not (tmp_path / "out" / "unfinished").exists()
    other = recipe.model_copy(update={"out": str(tmp_path / "other")})
    pack(other)
    for path in (tmp_path / "other").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_a_shard_that_went_or_is_of_another_size_is_not_done(state, tmp_path):
    recipe, _, planned = state
    first, second = [*planned][:2]
    (tmp_path / "out" / first).unlink()
    assert done(recipe, planned) == [second]
    (tmp_path / "out" / second).write_bytes(b"short")
    assert done(recipe, planned) == []


@pytest.mark.parametrize("damage", ["cut", "of another pack", "rows", "no rows", "no object"])
def test_a_note_that_is_damaged_or_of_another_pack_is_as_good_as_none(state, tmp_path, damage):
    recipe, _, planned = state
    first, second = [*planned][:2]
    place = tmp_path / "out" / "unfinished" / f"{first}.json"
    note = json.loads(place.read_text())
    match damage:
        case "cut":
            place.write_bytes(place.read_bytes()[:-5])
        case "of another pack":
            place.write_text(json.dumps(note | {"statement": "0"}))
        case "rows":
            note["shard"]["labels"][0] += 1
            place.write_text(json.dumps(note))
        case "no rows":
            del note["shard"]["labels"]
            place.write_text(json.dumps(note))
        case "no object":
            place.write_text("null")
    assert done(recipe, planned) == [second]


def test_what_a_killed_writer_left_goes_in_the_end(state, tmp_path):
    recipe, _, planned = state
    left = tmp_path / "out" / f".{[*planned][3]}.0123abcd.part"
    left.write_bytes(b"half a shard")
    pack(recipe)
    assert not left.exists()


def test_a_crash_after_the_manifest_leaves_a_finished_pack(state, tmp_path):
    recipe, _, _ = state
    pack(recipe)
    (tmp_path / "out" / "unfinished").mkdir()
    (tmp_path / "out" / "unfinished" / "train.parquet").write_bytes(b"")
    assert "already packed" in pack(recipe).summary()
    assert not (tmp_path / "out" / "unfinished").exists()


def test_other_options_are_refused_before_the_source_is_listed(state):
    recipe, _, _ = state
    other = recipe.model_copy(update={"check": "header"})
    with pytest.raises(DataError, match=r"unfinished pack with other options \(different: check\)"):
        Unfinished(other).check_options()
    Unfinished(recipe.model_copy(update={"workers": 3, "max_bad_fraction": 0.5})).check_options()


def test_a_changed_bound_keeps_what_is_done(state, tmp_path):
    recipe, _, planned = state
    looser = recipe.model_copy(update={"max_bad_fraction": 0.5})
    assert len(done(looser, planned)) == 2
    pack(looser)
    pack(looser.model_copy(update={"out": str(tmp_path / "other")}))
    for path in (tmp_path / "other").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
