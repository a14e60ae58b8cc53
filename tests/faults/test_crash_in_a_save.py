"""A save is cut short at every step that it takes: the checkpoint before it is always what is left.

Three ways to die. In this process, at every file that a real engine's save and its upload open,
rename or remove: an exception that lets nothing be tidied up afterwards, as a SIGKILL would not. In
a process of its own, by SIGKILL at the same points of an upload, and by the kernel in the middle
of a write. And at every request to an object store.
"""

import os
import resource
import signal
import sys
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from moto.server import ThreadedMotoServer

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation.errors import StorageError
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.train.assemble import assemble
from system.train.loop import open_training_stream
from system.train.state import TrainState
from system.train.update import update
from tests.gloo import run_workers
from tests.system.train.trials import CRITIC
from tests.system.train.trials import _ledger
from tests.system.train.trials import tiny

pytestmark = pytest.mark.chaos

# What changes a file or a folder, and the opening of one to write.
STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.link", "shutil.copyfile")
WORKERS = 2


class Killed(BaseException):
    """The process is dead from here on."""


class Reaper:
    """Counts the steps of what runs within, and ends it before the one with the given number."""

    def __init__(self, at: int | None, end: Callable[[], None]) -> None:
        self.at, self.end, self.steps = at, end, 0

    def step(self) -> None:
        self.steps += 1
        if self.at is not None and self.steps >= self.at:
            self.end()

    def __enter__(self) -> "Reaper":
        ACTIVE.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> bool:
        ACTIVE.remove(self)
        return kind in (Killed, StorageError)


ACTIVE: list[Reaper] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not ACTIVE or event not in STEPS:
        return
    if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        return
    ACTIVE[-1].step()


sys.addaudithook(_watch)


def die() -> None:
    raise Killed


def lose_the_store() -> None:
    raise RuntimeError("no request is sent any more")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


def recipe_of(shards: str, root: Path) -> Recipe:
    return tiny(
        shards,
        root,
        engine={"zero_stage": 2, "precision": "bf16", "further_decays": [0.5]},
        objective={"adversarial": CRITIC | {"start_images": 0}},
    )


def train_a_little(state: TrainState) -> None:
    with _ledger(state.world, state.recipe) as ledger:
        update(state, open_training_stream(state, ledger))


def weights_of(state: TrainState) -> dict[str, torch.Tensor]:
    assert state.critic is not None
    critic = {f"critic.{name}": weight for name, weight in state.critic.weights().items()}
    return state.engine.weights() | state.engine.averaged() | critic


def test_at_every_step_of_a_real_save_and_its_upload(shards: str, tmp_path: Path) -> None:
    recipe = recipe_of(shards, tmp_path)
    state = assemble(recipe, World(), read_manifest(shards))
    store = CheckpointStore(str(tmp_path / "checkpoints"))
    train_a_little(state)
    state.save(tmp_path / "before")
    before, expected = store.place(8, 1), weights_of(state)
    upload(tmp_path / "before", before.url, 0, 1)
    train_a_little(state)

    killed = 0
    for attempt in range(1, 1000):
        place = store.place(16, attempt)
        with Reaper(attempt, die) as reaper:
            state.save(tmp_path / f"local-{attempt}")
            upload(tmp_path / f"local-{attempt}", place.url, 0, 1)
        if reaper.steps < attempt:
            break
        killed += 1
        left = store.newest_or_refuse()
        if left == place:  # killed while it tidied up behind its marker: all of it is there
            assert killed > 50
            break
        assert left == before, f"killed at step {attempt}"
        assert not any(one.was_committed for one in store.passed_over)
    assert killed >= 50

    other = assemble(recipe, World(), read_manifest(shards), attempt=2)
    other.restore(store.fetch(before, tmp_path / "fetched"))
    assert other.progress.images_seen == 8
    found = weights_of(other)
    assert found.keys() == expected.keys() != set()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    state.close()
    other.close()


@pytest.fixture(scope="module")
def saved(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers saved, in `folder-<rank>`."""
    folder = tmp_path_factory.mktemp("saved")
    run_workers(_save, WORKERS, folder, shards, folder)
    return folder


def _save(world: World, shards: str, folder: Path) -> None:
    state = assemble(recipe_of(shards, folder), world, read_manifest(shards))
    train_a_little(state)
    state.save(folder / f"folder-{world.rank}")
    state.close()


def commit(saved: Path, place: Checkpoint, ranks: Any = range(WORKERS)) -> None:
    for rank in ranks:
        upload(saved / f"folder-{rank}", place.url, rank, WORKERS)


def in_a_child(work: Callable[[], None]) -> int:
    """How a process of its own ended that did this: its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("victim", range(WORKERS))
def test_an_upload_of_one_worker_is_killed_at_every_step(
    saved: Path, tmp_path: Path, victim: int
) -> None:
    store = CheckpointStore(str(tmp_path))
    before = store.place(8, 1)
    commit(saved, before)
    endings = []
    for attempt in range(1, 1000):
        place = store.place(16, attempt)
        commit(saved, place, {*range(WORKERS)} - {victim})

        def work(place: Checkpoint = place, attempt: int = attempt) -> None:
            with Reaper(attempt, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                commit(saved, place, [victim])

        endings.append(in_a_child(work))
        left = store.newest_or_refuse()
        if left == place:
            break
        assert left == before, f"killed at step {attempt}"
    assert set(endings[:-1]) == {-signal.SIGKILL}
    assert len(endings) > 10


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_an_upload_is_killed_in_the_middle_of_a_write(
    saved: Path, tmp_path: Path, share: float
) -> None:
    store = CheckpointStore(str(tmp_path))
    before = store.place(8, 1)
    commit(saved, before)
    sizes = {path.stat().st_size for path in saved.rglob("*") if path.is_file()}
    for attempt, size in enumerate(sorted(sizes), 1):
        place = store.place(16, attempt)

        def work(size: int = size, place: Checkpoint = place) -> None:
            # The kernel ends the process in the write that goes beyond so many bytes of a file.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size),) * 2)
            commit(saved, place)

        assert in_a_child(work) == -signal.SIGXFSZ
        assert store.newest_or_refuse() == before, f"killed at {share:.0%} of {size} bytes"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The url of a bucket on a real S3 server of this machine."""
    import s3fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    name = uuid.uuid4().hex  # all servers of a process share their buckets
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_at_every_request_to_an_object_store(
    saved: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiobotocore.client import AioBaseClient

    sent = AioBaseClient._make_api_call

    async def call(self: Any, operation: str, parameters: Any) -> Any:
        if ACTIVE:
            ACTIVE[-1].step()
        return await sent(self, operation, parameters)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", call)
    store = CheckpointStore(f"{bucket}/checkpoints")
    before = store.place(8, 1)
    commit(saved, before)
    for attempt in range(1, 1000):
        place = store.place(16, attempt)
        commit(saved, place, [1])
        with Reaper(attempt, lose_the_store) as reaper:
            commit(saved, place, [0])
        left = store.newest_or_refuse()
        if reaper.steps < attempt:
            break
        assert left == before, f"killed at request {attempt}"
    assert left == place
    assert attempt > 5
