import socket
import subprocess
import sys
from pathlib import Path

import torch

from system.foundation.world import World

ROOT = Path(__file__).parents[3]

WORKER = """
import sys
import torch
import torch.distributed as dist
from system.foundation.world import World

rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group(
    "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
)
world = World(rank, 2)
value = torch.tensor([1.0, 10.0]) * (rank + 1)
assert world.is_first == (rank == 0)
assert world.sum(value).tolist() == [3.0, 30.0]
assert value.tolist() == [rank + 1.0, 10.0 * (rank + 1)], "the argument stays as it was"
assert world.mean(value).tolist() == [1.5, 15.0]
assert world.largest(0.25 * (rank + 1)) == 0.5
assert world.broadcast({"from": rank}) == {"from": 0}
assert world.gather({"from": rank}) == [{"from": 0}, {"from": 1}]
world.barrier()
dist.destroy_process_group()
print("agreed")
"""


def test_alone_everything_is_its_own_value() -> None:
    world = World()
    value = torch.tensor([1.0, 2.0])
    assert world.is_first
    assert world.size == 1
    assert world.device == torch.device("cpu")
    assert torch.equal(world.sum(value), value)
    assert torch.equal(world.mean(value), value)
    assert world.broadcast("x") == "x"
    assert world.gather("x") == ["x"]
    world.barrier()


def test_two_workers_agree() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for worker in workers:
        output, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        assert output.strip() == "agreed"


def test_a_device_is_named_as_torch_names_it() -> None:
    assert World(device_name="cuda:3").device == torch.device("cuda", 3)
