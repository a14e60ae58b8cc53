"""The machine: libraries, accelerator, compiler, disk, shared memory, open files, processors."""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from system.engine.operators import build_tools
from system.engine.operators import operators
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import ClusterError
from system.foundation.recipe import Recipe
from system.foundation.versions import versions
from system.launch.doctor.finding import Finding
from system.launch.doctor.finding import failure
from system.launch.doctor.finding import ok
from system.launch.doctor.finding import warning
from system.launch.local_ray import check_shared_memory
from system.launch.preflight import check_space
from system.launch.preflight import checkpoint_bytes
from system.launch.preflight import run_url

PROBE_BYTES = 16 * 2**20
SLOW_BYTES_PER_S = 20 * 2**20
OPEN_FILES = 4096


def libraries() -> Iterator[Finding]:
    """Versions of what computes."""
    found = versions()
    missing = [name for name, version in found.items() if version is None]
    listed = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if missing:
        yield failure("libraries", f"{', '.join(missing)} not installed; {listed}", "pip install .")
    else:
        yield ok("libraries", listed)


def accelerator(recipe: Recipe) -> Iterator[Finding]:
    """CUDA and NCCL, as the recipe needs them."""
    wanted = recipe.cluster.device
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        if wanted == "cuda":
            yield failure(
                "cuda",
                f"no GPU here, and cluster.device=cuda ({built})",
                "run it where GPUs are (nvidia-smi lists them), or set cluster.device=cpu",
            )
        else:
            yield ok("cuda", f"no GPU here; cluster.device={wanted} computes on the CPU ({built})")
        return
    count = torch.cuda.device_count()
    first = torch.cuda.get_device_properties(0)
    yield ok("cuda", f"{count} x {first.name}, {first.total_memory / 2**30:.0f} GiB each")
    if recipe.engine.precision == "bf16" and not torch.cuda.is_bf16_supported():
        yield failure("bf16", f"{first.name} has no bf16", "set engine.precision=fp32")
    yield ok("nccl", ".".join(map(str, torch.cuda.nccl.version())))


def deepspeed_operators() -> Iterator[Finding]:
    """DeepSpeed's operators, and what compiles them at first use."""
    absent = [name for name, place in build_tools().items() if place is None]
    if absent:
        yield failure(
            "deepspeed build",
            f"no {' and no '.join(absent)}: DeepSpeed compiles a part of itself at first use",
            "apt-get install g++ and pip install ninja, or set CXX to a compiler",
        )
    else:
        yield ok("deepspeed build", ", ".join(str(place) for place in build_tools().values()))
    found = operators()
    able = [each.name for each in found if each.compatible]
    yield ok("deepspeed ops", f"{len(able)} of {len(found)} can be compiled; a run needs none")


def disk(recipe: Recipe) -> Iterator[Finding]:
    """Space for the run's checkpoints, and how fast the local disk is."""
    try:
        check_space(run_url(recipe), checkpoint_bytes(recipe), recipe.run.keep_checkpoints)
    except BadInput as error:
        yield failure("disk space", str(error), "free some space, or choose another place")
    else:
        free = storage.free_bytes(tempfile.gettempdir())
        yield ok("disk space", f"{(free or 0) / 2**30:,.1f} GiB free in {tempfile.gettempdir()}")
    speed = written_per_second(Path(tempfile.gettempdir()))
    said = f"{speed / 2**20:,.0f} MiB/s written in {tempfile.gettempdir()}"
    if speed < SLOW_BYTES_PER_S:
        yield warning("disk speed", said, "point TMPDIR at a faster local disk: saves pass there")
    else:
        yield ok("disk speed", said)


def written_per_second(folder: Path) -> float:
    """Bytes that get onto the disk of a folder in a second."""
    data = os.urandom(PROBE_BYTES)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        start = time.perf_counter()
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return PROBE_BYTES / max(1e-9, time.perf_counter() - start)


def shared_memory() -> Iterator[Finding]:
    """Room for Ray's object store."""
    try:
        check_shared_memory()
    except ClusterError as error:
        yield failure("shared memory", str(error), "docker run --shm-size=1g, or a larger /dev/shm")
    else:
        yield ok("shared memory", "enough for Ray's object store and the workers")


def open_files() -> Iterator[Finding]:
    """How many files a process may have open: Ray and object stores hold many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        cure = f"ulimit -n {OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, 65536)}"
        yield warning(
            "open files", f"a process may have {soft:,} open", f"{cure} before Ray starts"
        )
    else:
        yield ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}")


def processors(recipe: Recipe) -> Iterator[Finding]:
    """Processors and memory, beside what the recipe reserves on one machine."""
    cores = len(psutil.Process().cpu_affinity() or [])
    memory = psutil.virtual_memory().total / 2**30
    here = f"{cores} cores, {memory:.0f} GiB of memory"
    reserved = recipe.cluster.workers * recipe.cluster.cpus_per_worker
    decoding = recipe.data.workers + 1
    if decoding > recipe.cluster.cpus_per_worker:
        yield warning(
            "processors",
            f"{here}; a worker has {decoding} processes and cluster.cpus_per_worker="
            f"{recipe.cluster.cpus_per_worker:g}",
            f"set cluster.cpus_per_worker={decoding}, or data.workers lower",
        )
    elif reserved > cores and not os.environ.get("RAY_ADDRESS"):
        yield warning(
            "processors",
            f"{here}; the recipe's {recipe.cluster.workers} workers reserve {reserved:g}, and "
            "RAY_ADDRESS names no cluster that has them",
            "set cluster.workers lower, or RAY_ADDRESS to the cluster",
        )
    else:
        yield ok("processors", f"{here}; the workers reserve {reserved:g}")
