"""What DeepSpeed can compile and has compiled here: the one place that asks its builders."""

import os
import shutil
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
    """Every operator for this accelerator, by name. Its builders print what they miss; that is
    left out."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return [
            Operator(name, bool(ALL_OPS[name].is_compatible(verbose=False)))
            for name in sorted(ALL_OPS)
        ]


def build_tools() -> dict[str, str | None]:
    """Where the compiler and ninja are, which compile operators at first use; None for absent."""
    compiler = os.environ.get("CXX", "g++").split(maxsplit=1)[0]
    return {"compiler": shutil.which(compiler), "ninja": shutil.which("ninja")}
