import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from system.engine import checkpoints
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import flaw
from system.engine.checkpoints import further_average
from system.engine.checkpoints import name_of
from system.engine.checkpoints import read_averaged
from system.engine.checkpoints import read_state
from system.engine.checkpoints import upload
from system.foundation.errors import CheckpointError
from system.foundation.errors import StorageError


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path) -> CheckpointStore:
    """An empty store: on disk, and where there are only whole objects."""
    if request.param == "local":
        return CheckpointStore(str(tmp_path / "checkpoints"))
    return CheckpointStore(f"memory://{tmp_path.name}-{id(request)}/checkpoints")


@pytest.fixture
def commit(store, make_checkpoint) -> Callable[..., checkpoints.Checkpoint]:
    """Commit a checkpoint of two workers into the store."""

    def make(images_seen: int, attempt: int = 1, workers: int = 2) -> checkpoints.Checkpoint:
        place = store.place(images_seen, attempt)
        for rank in range(workers):
            content = {f"rank{rank}.pt": bytes([rank]) * 100, "empty.pt": b""}
            folder = make_checkpoint(f"{images_seen}-{attempt}-{rank}", **content)
            upload(folder, place.url, rank, workers)
        return place

    return make


def break_file(url: str, change: Callable[[bytes], bytes] | None) -> None:
    content = checkpoints.storage.read_bytes(url)
    checkpoints.storage.remove(url)
    if change is not None:
        checkpoints.storage.write_bytes(url, change(content))


def test_a_file_that_was_written_and_is_gone_leaves_it_uncommitted(store, tmp_path) -> None:
    place = store.place(64, 1)
    (tmp_path / "rank0.pt").write_bytes(b"0")
    with pytest.raises(OSError, match=r"rank1\.pt"):
        upload(tmp_path, place.url, 0, 1, names=["rank0.pt", "rank1.pt"])
    assert store.all() == []


def test_an_empty_store_has_no_latest(store) -> None:
    assert store.latest() is None
    assert store.all() == []


def test_latest_is_the_newest_by_images_then_attempt(store, commit) -> None:
    made = [commit(64, 1), commit(128, 1), commit(128, 10), commit(128, 9)]
    assert store.latest() == made[2]
    assert store.all() == [made[0], made[1], made[3], made[2]]
    assert store.passed_over == []
    assert made[2].url.endswith("/000000000128-10")


def test_a_tainted_one_is_passed_over_though_it_is_whole(store, commit) -> None:
    before, newest = commit(8), commit(16)
    taint = {newest: "saved behind a spike"}.get
    assert store.latest(taint=taint) == store.newest_or_refuse(taint) == before
    assert [(one.checkpoint, one.reason) for one in store.passed_over] == [
        (newest, "saved behind a spike")
    ]
    assert store.newest_or_refuse(lambda one: "all are") is None, "the run begins anew"
    assert store.latest() == newest


def test_a_checkpoint_without_all_markers_is_passed_over(store, commit, make_checkpoint) -> None:
    whole = commit(64)
    torn = store.place(128, 1)
    upload(make_checkpoint("torn", **{"rank0.pt": b"0"}), torn.url, 0, 2)
    assert store.latest() == whole
    assert store.latest(verify=False) == whole
    assert store.all() == [whole]
    (passed,) = store.passed_over
    assert passed.checkpoint == torn
    assert "markers of workers [1]" in passed.reason


def test_files_without_any_marker_are_passed_over(store, commit) -> None:
    whole = commit(64)
    checkpoints.storage.write_bytes(f"{store.place(128, 1).url}/engine/rank0.pt", b"half")
    assert store.latest() == whole
    assert "no worker has written its marker" in store.passed_over[0].reason


DAMAGES = {
    "flipped bit": (lambda content: bytes([content[0] ^ 1]) + content[1:], "damaged"),
    "truncated": (lambda content: content[:-1], "99 bytes, expected 100"),
    "missing": (None, "missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_found_and_the_one_before_is_used(store, commit, damage) -> None:
    change, reason = DAMAGES[damage]
    older, newest = commit(64), commit(128)
    break_file(f"{newest.url}/engine/rank1.pt", change)
    assert store.latest() == older
    assert reason in store.passed_over[0].reason
    assert "engine/rank1.pt" in store.passed_over[0].reason
    assert store.latest(verify=False) == newest


MARKERS = {
    "cut": lambda _: b"{",
    "empty": lambda _: b"",
    "high bit flipped": lambda content: bytes([content[0] ^ 0x80]) + content[1:],
    "empty list": lambda _: b"[]",
    "list": lambda _: b"[1]",
    "null": lambda _: b"null",
    "text": lambda _: b'""',
    "file without a record": lambda _: b'{"a": 1}',
    "file without a digest": lambda _: b'{"a": {}}',
    "file outside": lambda _: b'{"../a": {"bytes": 1, "xxh3": ""}}',
}


@pytest.mark.parametrize("damage", MARKERS)
def test_a_damaged_marker_is_found(store, commit, damage) -> None:
    older, newest = commit(64), commit(128)
    break_file(f"{newest.url}/COMMITTED.1-of-2.json", MARKERS[damage])
    assert store.latest() == older
    assert "COMMITTED.1-of-2.json is damaged" in store.passed_over[0].reason


def test_a_marker_that_is_a_folder_is_found(store, commit) -> None:
    older, newest = commit(64), commit(128)
    break_file(f"{newest.url}/COMMITTED.1-of-2.json", None)
    checkpoints.storage.write_bytes(f"{newest.url}/COMMITTED.1-of-2.json/stranger", b"")
    assert store.latest() == older
    assert "COMMITTED.1-of-2.json is damaged" in store.passed_over[0].reason


def test_a_store_that_fails_is_no_damage(tmp_path, make_checkpoint, monkeypatch) -> None:
    place = CheckpointStore(str(tmp_path)).place(64, 1)
    upload(make_checkpoint("one", **{"a.pt": b"a"}), place.url, 0, 1)

    def fail(url: str) -> bytes:
        raise StorageError(f"cannot read {url}")

    monkeypatch.setattr(checkpoints.storage, "read_bytes", fail)
    with pytest.raises(StorageError):
        flaw(place.url)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(store, commit) -> None:
    older, newest = commit(64), commit(128)
    break_file(f"{older.url}/engine/rank0.pt", None)
    break_file(f"{newest.url}/COMMITTED.1-of-2.json", MARKERS["high bit flipped"])
    with pytest.raises(CheckpointError) as error:
        store.newest_or_refuse()
    assert f"{older.url}: engine/rank0.pt is missing" in str(error.value)
    assert f"{newest.url}: COMMITTED.1-of-2.json is damaged" in str(error.value)
    assert "remove them or give another run.name" in str(error.value)


def test_a_run_killed_in_its_first_upload_begins_anew(store, commit, make_checkpoint) -> None:
    assert store.newest_or_refuse() is None
    upload(make_checkpoint("torn", **{"rank0.pt": b"0"}), store.place(64, 1).url, 0, 2)
    assert store.newest_or_refuse() is None
    assert not store.passed_over[0].was_committed
    whole = commit(32)
    assert store.newest_or_refuse() == whole


def test_markers_of_groups_of_two_sizes_do_not_make_one(store, commit, make_checkpoint) -> None:
    mixed = commit(64)
    upload(make_checkpoint("third", **{"rank2.pt": b"2"}), mixed.url, 2, 3)
    assert store.latest() is None
    assert "groups of [2, 3] workers" in store.passed_over[0].reason


def test_a_torn_upload_at_any_file_is_never_taken(store, commit, make_checkpoint) -> None:
    whole = commit(64)
    folder = make_checkpoint("cut", **{f"{n}.pt": bytes([n]) * 10 for n in range(4)})
    torn = store.place(128, 1)
    for path in sorted(folder.rglob("*.pt")):
        checkpoints.storage.copy_out(path, f"{torn.url}/engine/{path.name}")
        assert store.latest() == whole
    upload(folder, torn.url, 0, 1)
    assert store.latest() == torn


def test_fetch_brings_the_files(store, commit, tmp_path) -> None:
    place = commit(64)
    folder = store.fetch(place, tmp_path / "fetched")
    assert (folder / "engine" / "rank1.pt").read_bytes() == b"\1" * 100
    assert (folder / "engine" / "empty.pt").read_bytes() == b""


def test_a_local_checkpoint_is_used_where_it_lies(tmp_path, make_checkpoint) -> None:
    store = CheckpointStore(str(tmp_path / "checkpoints"))
    place = store.place(8, 1)
    upload(make_checkpoint("one", **{"a.pt": b"a"}), place.url, 0, 1)
    assert store.fetch(place, tmp_path / "fetched") == Path(place.url)
    assert not (tmp_path / "fetched").exists()


def test_prune_keeps_the_newest_and_what_is_not_committed(store, commit) -> None:
    made = [commit(n) for n in (8, 16, 24)]
    checkpoints.storage.write_bytes(f"{store.place(4, 1).url}/engine/rank0.pt", b"uploading")
    assert store.prune(lambda whole: whole[-2:]) == made[:1]
    assert store.all() == made[1:]
    assert not checkpoints.storage.exists(made[0].url)
    assert checkpoints.storage.exists(store.place(4, 1).url)
    assert store.prune(lambda whole: whole[-5:]) == []


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_pruning_never_trades_a_whole_one_for_a_damaged_one(store, commit, damage) -> None:
    made = [commit(n) for n in (8, 16, 24)]
    break_file(f"{made[2].url}/engine/rank1.pt", DAMAGES[damage][0])
    assert store.prune(lambda whole: whole[-1:]) == made[:1]
    assert store.latest() == made[1]
    later = commit(32)
    assert store.prune(lambda whole: whole[-1:]) == made[1:]
    assert store.all() == [later]


def test_strangers_in_the_folder_are_left_alone(store, commit) -> None:
    whole = commit(64)
    checkpoints.storage.write_bytes(f"{store.url}/notes.txt", b"mine")
    checkpoints.storage.write_bytes(f"{store.url}/000000000128-1.old/a", b"")
    assert store.latest() == whole
    assert store.passed_over == []


def test_names_sort_by_age() -> None:
    assert name_of(25600, 3) == "000000025600-3"


@pytest.fixture
def averaged_url(tmp_path, make_recipe) -> str:
    """A committed checkpoint with averaged weights and a state."""
    folder = tmp_path / "local"
    folder.mkdir()
    weights = {"flow.weight": torch.arange(3.0)}
    safetensors.torch.save_file(weights, folder / checkpoints.AVERAGED)
    state = {"images_seen": 640, "recipe": make_recipe().model_dump(mode="json")}
    (folder / checkpoints.STATE).write_text(json.dumps(state))
    url = str(tmp_path / "checkpoints" / name_of(640, 1))
    upload(folder, url, 0, 1)
    return url


def test_averaged_weights_come_with_their_recipe(averaged_url, make_recipe) -> None:
    recipe, weights, images_seen = read_averaged(averaged_url)
    assert recipe == make_recipe()
    assert weights["flow.weight"].tolist() == [0, 1, 2]
    assert images_seen == 640


def test_an_average_is_chosen_by_its_decay(tmp_path, make_recipe) -> None:
    recipe = make_recipe(engine={"averaging_decay": 0.9, "further_decays": [0.5, 0.99]})
    folder = tmp_path / "local"
    folder.mkdir()
    names = [checkpoints.AVERAGED, *map(further_average, recipe.engine.further_decays)]
    for value, name in enumerate(names):
        safetensors.torch.save_file({"w": torch.tensor([float(value)])}, folder / name)
    state = {"images_seen": 640, "recipe": recipe.model_dump(mode="json")}
    (folder / checkpoints.STATE).write_text(json.dumps(state))
    url = str(tmp_path / "checkpoints" / name_of(640, 1))
    upload(folder, url, 0, 1)
    found = [read_averaged(url, decay=decay)[1]["w"].item() for decay in (None, 0.9, 0.5, 0.99)]
    assert found == [0, 0, 1, 2]
    with pytest.raises(CheckpointError, match=r"decay 0\.7; expected one of 0\.9, 0\.5"):
        read_averaged(url, decay=0.7)


def test_no_averaged_weights_where_there_is_nothing(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        read_averaged(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (checkpoints.AVERAGED, lambda c: c[:-1] + b"?", "digest"),
        (checkpoints.STATE, None, "missing"),
        ("COMMITTED.0-of-1.json", None, "not committed"),
        ("COMMITTED.0-of-1.json", lambda _: b"{}", "in no commit marker"),
    ],
)
def test_damaged_averaged_weights_are_refused(averaged_url, file, change, message) -> None:
    break_file(f"{averaged_url}/{file}", change)
    with pytest.raises(CheckpointError, match=message):
        read_averaged(averaged_url)


@pytest.mark.parametrize("content", [b"not json", b"[1]"])
def test_a_state_that_cannot_be_read_is_named(tmp_path, content) -> None:
    (tmp_path / checkpoints.STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        read_state(str(tmp_path))


def test_flaw_is_none_for_a_whole_one(averaged_url) -> None:
    assert flaw(averaged_url) is None


def test_a_store_that_cannot_list_its_folders_before_they_hold_something(store) -> None:
    assert flaw(store.place(1, 1).url) == "not committed: no worker has written its marker"
