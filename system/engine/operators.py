"""What DeepSpeed can compile and has compiled here: the one place that asks its builders."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import redirect_stderr
from contextlib import redirect_stdout
from dataclasses import dataclass

from deepspeed.ops.op_builder.all_ops import ALL_OPS


@dataclass(frozen=True, slots=True)
class Operator:
    """One of DeepSpeed's compiled operators."""

    name: str
    compatible: bool  # with this machine: it can be compiled at first use


def operators() -> list[Operator]:
    """Every operator for this accelerator, by name. Its builders print what they miss, and so does
    the linker that they try: that is left out."""
    with _silence():
        return [
            Operator(name, bool(ALL_OPS[name].is_compatible(verbose=False)))
            for name in sorted(ALL_OPS)
        ]


def build_tools() -> dict[str, str | None]:
    """Where the compiler and ninja are, which compile operators at first use; None for absent."""
    compiler = os.environ.get("CXX", "g++").split(maxsplit=1)[0]
    return {"compiler": shutil.which(compiler), "ninja": shutil.which("ninja")}


@contextmanager
def _silence() -> Iterator[None]:
    """Neither this process nor one that it starts writes to the terminal."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        before = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
