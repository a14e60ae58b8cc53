"""The image: not root, pinned, in an order that caches, and with nothing of the folder's own."""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes import ROOT

DOCKERFILE = ROOT / "ops" / "docker" / "Dockerfile"
KNOWN = {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "ARG", "USER", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Every instruction with its text, lines joined."""
    lines = [x for x in DOCKERFILE.read_text("utf-8").splitlines() if not x.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(x.split(" ", 1)) for x in joined.splitlines() if x]  # type: ignore[misc]


def of(kind: str) -> list[str]:
    return [text for name, text in instructions() if name == kind]


def position(kind: str, part: str) -> int:
    (found,) = [n for n, (name, text) in enumerate(instructions()) if name == kind and part in text]
    return found


def test_every_instruction_is_one() -> None:
    assert {name for name, _ in instructions()} <= KNOWN
    assert json.loads(of("CMD")[0])[0] == "python"


def test_it_is_not_root_at_the_end_and_writes_no_code() -> None:
    (user,) = of("USER")
    assert user == "1000:1000"  # as the manifests have it; by number, so that Kubernetes can tell
    assert position("USER", user) > max(position("COPY", p) for p in ("system ", "jobs "))
    assert not any("--chown" in text for text in of("COPY"))


def test_the_base_is_pinned_and_of_the_cuda_that_torch_is_for() -> None:
    (base,) = of("FROM")
    name, _, tag = base.partition(":")
    assert name == "nvidia/cuda"
    version = re.fullmatch(r"(\d+\.\d+)\.\d+-devel-ubuntu24\.04", tag)
    assert version is not None
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    assert f"\nnvidia-cuda-runtime=={version[1]}." in pinned


def test_it_can_compile_what_is_compiled_at_run_time() -> None:
    packages = " ".join(of("RUN")).split()
    assert {"gcc", "g++", "ninja-build", "python3-dev"} <= set(packages)


def test_packages_are_pinned_and_come_before_code() -> None:
    (install,) = [text for text in of("RUN") if "pip install" in text]
    assert "--constraint constraints.txt" in install
    assert "--no-cache-dir" not in install
    assert "--mount=type=cache,target=/root/.cache/pip" in install
    first_code = min(position("COPY", f"./{room}") for room in ("configs", "jobs", "system"))
    assert position("COPY", "constraints.txt") < position("RUN", "pip install") < first_code
    assert position("ARG", "COMMIT") > first_code  # or every commit would install all anew


def test_the_packages_are_those_of_the_project(tmp_path: Path) -> None:
    (install,) = [text for text in of("RUN") if "pip install" in text]
    (program,) = re.findall(r"python -c '([^']+)'", install)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    listed = done.stdout.splitlines()
    assert any(each.startswith("deepspeed>=") for each in listed), done.stderr
    assert any(each.startswith("s3fs>=") for each in listed)
    assert not any(each.startswith("pytest") for each in listed)


@pytest.mark.parametrize("text", of("RUN"))
def test_what_it_runs_is_one_that_a_shell_reads(text: str) -> None:
    body = re.sub(r"--mount=\S+\s*", "", text)
    done = subprocess.run(["sh", "-n", "-c", body], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_secret_and_no_download_by_hand() -> None:
    text = DOCKERFILE.read_text("utf-8")
    assert not re.search(r"curl|wget|ADD |TOKEN|PASSWORD|SECRET", text)
    assert ":latest" not in text


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert rules[1] == "*"  # after the comment: nothing but what is named
    named = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {name for text in of("COPY") for name in text.split()[:-1]}
    assert named == copied
    assert all((ROOT / name).exists() for name in named)
    left_out = [rule for rule in rules if "**" in rule]
    assert any(
        fnmatch.fnmatch("system/__pycache__", rule.replace("**/", "*/")) for rule in left_out
    )
