from pathlib import Path

import pytest
import torch

from system.foundation.errors import CheckpointError
from system.interop.weights_file import read_tensors
from system.interop.weights_file import write_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.bfloat16)}


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.safetensors"])
def test_tensors_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    url = str(tmp_path / "deep" / name)
    write_tensors(url, TENSORS)
    found = read_tensors(url)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)
    assert found["b"].dtype == torch.bfloat16


def test_a_url_of_memory_is_as_good() -> None:
    write_tensors("memory://weights/x.pth", TENSORS)
    assert read_tensors("memory://weights/x.pth").keys() == TENSORS.keys()


def test_tensors_may_lie_one_level_down(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "epoch": 3}, tmp_path / "x.ckpt")
    assert read_tensors(str(tmp_path / "x.ckpt")).keys() == TENSORS.keys()


class Program:
    """What no file of weights should hold."""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.pth", {"epoch": 3}, "holds a dict, expected tensors by name"),
        ("x.pth", [1, 2], "holds a list"),
        ("x.pth", {0: torch.zeros(2)}, "holds tensors by int, such as 0"),
        ("x.pth", Program(), "cannot be read .*could run programs"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path, name: str, content: object, said: str
) -> None:
    torch.save(content, tmp_path / name)
    with pytest.raises(CheckpointError, match=said):
        read_tensors(str(tmp_path / name))


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_damaged_and_absent_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_tensors(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(str(tmp_path / name))


def test_an_ending_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"ends neither in \.safetensors"):
        write_tensors(str(tmp_path / "x.weights"), TENSORS)
