"""Bytes per second into shards: the packer with bytes kept, against copying through tarfile.

Both bring every tar to the disk before they go on, as the packer has to: a shard counts as done
only once it would survive a crash.
"""

import os
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_pipeline.pack.pack import pack
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.sources.image_folder import ImageFolder
from tests.benchmarks.photographs import SHARD_SAMPLES
from tests.benchmarks.rows import median_of_each


@dataclass(frozen=True, slots=True)
class Packing:
    """Bytes of images per second."""

    packed: float
    packed_and_decoded: float
    tarfile: float


def time_packing(folder: str, scratch: str, rounds: int) -> Packing:
    """Pack and copy the same folder in turn."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    sides: dict[str, Callable[[Path], None]] = {
        "packed": lambda out: _pack(folder, out, "header"),
        "packed_and_decoded": lambda out: _pack(folder, out, "decode"),
        "tarfile": lambda out: _copy(files, out),
    }
    timed = {
        name: lambda work=work: size / _seconds(work, Path(scratch) / "packed")
        for name, work in sides.items()
    }
    return Packing(**median_of_each(timed, rounds))


def _seconds(work: Callable[[Path], None], out: Path) -> float:
    out.mkdir()
    start = time.perf_counter()
    work(out)
    took = time.perf_counter() - start
    shutil.rmtree(out)
    return took


def _pack(folder: str, out: Path, check: Literal["decode", "header"]) -> None:
    source = ImageFolder(url=folder)
    pack(PackRecipe(source=source, out=str(out), shard_samples=SHARD_SAMPLES, check=check))


def _copy(files: list[Path], out: Path) -> None:
    for number in range(0, len(files), SHARD_SAMPLES):
        with open(out / f"{number:05d}.tar", "wb") as target:
            with tarfile.open(fileobj=target, mode="w") as tar:
                for file in files[number : number + SHARD_SAMPLES]:
                    tar.add(file, file.name, recursive=False)
            target.flush()
            os.fsync(target.fileno())
