"""The compiled form of resample.c: built once per user and machine, then found again.

It is kept in `latent-flows` inside the user's cache folder ($XDG_CACHE_HOME, else ~/.cache) under a
name that holds a digest of all that it depends on, so a changed source or another processor never
meets a stale file. Any number of processes may build it at once: each writes a file of its own and
renames it.
"""

import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("resample.c")
# No fused multiply-adds: they would round the weights in another way than Pillow.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared", "-std=gnu11")
COMPILERS = ("cc", "gcc", "clang")
TIMEOUT_S = 120.0
_CPU_FACTS = ("flags", "Features", "model name")  # the lines that -march=native depends on


class KernelError(Exception):
    """There is no compiled kernel. Its text says why."""


def build_kernel() -> Path:
    """The shared library of resample.c, compiled now if it is not there yet. Raises KernelError."""
    folder = cache_folder()
    library = folder / f"resample-{_digest()}.so"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not library.exists():
            _compile(library)
        for place in (folder, library):
            _check_owner(place)
    except OSError as problem:
        raise KernelError(f"{folder} cannot be used: {problem}") from problem
    return library


def cache_folder() -> Path:
    """Where compiled kernels of this user are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(root) / "latent-flows"


def _digest() -> str:
    """Names the library. The compiler's version is no part of it: the caller checks the pixels."""
    facts = [os.environ.get("CC", ""), *FLAGS, platform.machine(), _libc(), *_processor()]
    text = "\n".join(facts).encode()
    return hashlib.blake2b(SOURCE.read_bytes() + text, digest_size=12).hexdigest()


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def _processor() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            first = list(iter(lines.readline, "\n"))  # its first block: one processor's
    except OSError:
        return [platform.processor()]
    return [line for line in first if line.startswith(_CPU_FACTS)]


def _compile(library: Path) -> None:
    handle, fresh = tempfile.mkstemp(dir=library.parent, suffix=".so")
    os.close(handle)
    try:
        command = [*_compiler(), *FLAGS, "-o", fresh, str(SOURCE), "-lm"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing"])[0]
            raise KernelError(
                f"{shlex.join(command)} exited with {done.returncode}, saying: {said}"
            )
        os.chmod(fresh, 0o700)
        os.replace(fresh, library)
    except subprocess.TimeoutExpired as problem:
        raise KernelError(str(problem)) from problem
    finally:
        Path(fresh).unlink(missing_ok=True)


def _compiler() -> list[str]:
    wanted = shlex.split(os.environ.get("CC", ""))
    names = wanted[:1] or COMPILERS
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise KernelError(f"no C compiler is on the path (looked for {', '.join(names)})")
    return [found, *wanted[1:]]


def _check_owner(place: Path) -> None:
    """Refuse to load what another user could have put there."""
    status = place.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KernelError(
            f"{place} belongs to another user or can be written to by others "
            f"(owner {status.st_uid}, mode {stat.filemode(status.st_mode)})"
        )
