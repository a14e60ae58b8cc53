"""What workers do in their group is seen in `test_run`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import ray
from ray.train.torch import TorchConfig

from system.launch import torch_group
from system.launch.torch_group import TorchGroup
from system.launch.torch_group import TorchGroupBackend
from system.launch.torch_group import listen
from system.launch.torch_group import nccl_settings
from system.launch.torch_group import store_at

# What Ray's controller takes up of ours.
CONTROLLERS = (
    "system.launch.torch_group", "system.launch.failures", "system.launch.placement",
    "system.launch.ray_list", "system.launch.scaling", "system.evaluation.task",
)  # fmt: skip


def test_the_controller_imports_no_torch() -> None:
    script = f"import sys, {', '.join(CONTROLLERS)}; print('torch' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["False"], told.stderr


def test_it_says_what_rays_own_says() -> None:
    ours, rays = TorchGroup("gloo"), TorchConfig(backend="gloo")
    assert ours.train_func_context is rays.train_func_context
    assert ours.framework == rays.framework
    assert ours.timeout_s == rays.timeout_s
    assert (
        TorchGroupBackend.share_cuda_visible_devices == rays.backend_cls.share_cuda_visible_devices
    )
    assert ours.to_dict() == {"backend": "gloo", "timeout_s": 1800}


@pytest.mark.parametrize(
    ("backend", "known", "told"),
    [
        ("nccl", {}, {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}),
        ("cpu:gloo,cuda:nccl", {}, {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}),
        ("nccl", {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}, {}),
        ("nccl", {"TORCH_NCCL_BLOCKING_WAIT": "1"}, {}),
        ("gloo", {}, {}),
    ],
)
def test_nccl_is_told_what_rays_own_group_tells_it(
    backend: str, known: dict[str, str], told: dict[str, str]
) -> None:
    assert nccl_settings(backend, known) == told


def addresses(port: int) -> set[str]:
    """Where this process listens at this port."""
    mine = psutil.Process().net_connections("inet")
    return {
        each.laddr.ip
        for each in mine
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    }


@contextmanager
def listening() -> Iterator[tuple[str, int]]:
    """The place of a first worker; nothing is left listening."""
    try:
        yield listen()
    finally:
        while torch_group._listening:
            torch_group._listening.pop().close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_workers_store_is_at_the_first_ones_address_alone(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: address)
    with listening() as place:
        assert place[0] == address
        assert addresses(place[1]) == {address}
        first = store_at(place, 0, 30)
        second = store_at(place, 1, 30)
        second.set("said by", "the second")
        assert first.get("said by") == b"the second"
        assert addresses(place[1]) == {address}
    del second, first
    assert not addresses(place[1])


def test_one_behind_another_address_listens_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "203.0.113.9")
    with listening() as place:
        assert place[0] == "203.0.113.9"
        assert addresses(place[1]) == {"0.0.0.0"}
        assert store_at(("127.0.0.1", place[1]), 0, 30).num_keys() >= 0
