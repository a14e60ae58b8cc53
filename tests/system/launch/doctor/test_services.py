import socket

import pytest

from system.foundation.settings.run import Cluster
from system.foundation.settings.run import Wandb
from system.launch.doctor import services


def test_the_pinned_ray_is_the_one_that_our_rule_knows(make_recipe) -> None:
    (found,) = services.ray_version(make_recipe())
    assert found.state == "ok"
    assert "written for" in found.said


@pytest.mark.parametrize(
    ("workers", "fewest", "state"),
    [(8, None, "ok"), (2, 1, "warning"), (8, 2, "failure")],  # 8 images: not over 3, 5, 6 or 7
)
def test_another_ray_matters_where_sizes_change(make_recipe, workers, fewest, state) -> None:
    cluster = Cluster(workers=workers, min_workers=fewest)
    (found,) = services.ray_version(make_recipe(cluster=cluster), "2.99.0")
    assert found.state == state
    assert (found.cure == "") == (state == "ok")


@pytest.fixture
def port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_private_ray_needs_nothing() -> None:
    (found,) = services.ray_access({})
    assert found.state == "ok"


def test_a_cluster_wants_a_token(port, tmp_path) -> None:
    address = {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    open_to_all, there = services.ray_access(address)
    assert (open_to_all.state, there.state) == ("warning", "ok")
    absent = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}
    assert next(services.ray_access(address | absent)).state == "failure"
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "secret"}
    assert [each.state for each in services.ray_access(address | given)] == ["ok", "ok"]


def test_a_cluster_that_does_not_answer_fails() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    *_, found = services.ray_access({"RAY_ADDRESS": f"127.0.0.1:{port}"})
    assert (found.name, found.state) == ("ray cluster", "failure")


def test_wandb_is_offline_without_a_key_and_fails_online_without_one(
    make_recipe, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (found,) = services.wandb(make_recipe(), {})
    assert found.state == "ok"
    assert "offline" in found.said
    online = make_recipe(wandb=Wandb(mode="online"))
    (found,) = services.wandb(online, {})
    assert found.state == "failure"
    assert "WANDB_API_KEY" in found.cure
