"""Ray and wandb: which versions, which cluster, who may join it, where a mirror goes."""

import os
import socket
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

import ray

from system.foundation.errors import ClusterError
from system.foundation.recipe import Recipe
from system.launch.doctor.finding import Finding
from system.launch.doctor.finding import failure
from system.launch.doctor.finding import ok
from system.launch.doctor.finding import warning
from system.launch.elastic import KNOWN_RAY
from system.launch.elastic import check_sizes
from system.telemetry.wandb_sink import resolve_mode

ANSWER_TIMEOUT_S = 5.0
WANDB_HOST = "api.wandb.ai"


def ray_version(recipe: Recipe, version: str = ray.__version__) -> Iterator[Finding]:
    """Ray's version, and whether our rule for changing sizes knows it."""
    if version.startswith(KNOWN_RAY):
        yield ok("ray", f"{version}, the one that our rule for changing sizes is written for")
        return
    cure = f"install Ray {KNOWN_RAY}* (constraints.txt), or leave cluster.min_workers=null"
    said = f"{version}; our rule for changing sizes is written for {KNOWN_RAY}*"
    try:
        check_sizes(recipe, version)
    except ClusterError as error:
        yield failure("ray", str(error), cure)
        return
    is_elastic = recipe.cluster.min_workers is not None
    yield warning("ray", said, cure) if is_elastic else ok("ray", said)


def ray_access(environment: Mapping[str, str]) -> Iterator[Finding]:
    """The cluster at RAY_ADDRESS, and whether it asks for a token."""
    mode = environment.get("RAY_AUTH_MODE", "")
    address = environment.get("RAY_ADDRESS", "")
    if not address:
        yield ok(
            "ray access", "no RAY_ADDRESS: a run starts a private Ray, with a token of its own"
        )
        return
    if mode == "token" and not _has_token(environment):
        yield failure(
            "ray access",
            "RAY_AUTH_MODE=token, and there is no token to show",
            "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's (ray get-auth-token)",
        )
    elif mode != "token":
        yield warning(
            "ray access",
            f"RAY_AUTH_MODE={mode or 'unset'}: who reaches the cluster's ports can run programs",
            "set RAY_AUTH_MODE=token on every node and client (Ray's defaults differ by version)",
        )
    else:
        yield ok("ray access", "by token")
    yield from _answers(address)


def wandb(recipe: Recipe, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Where the mirror of the ledger goes."""
    mode = resolve_mode(recipe.wandb, environment)
    asked = f"wandb.mode={recipe.wandb.mode}"
    if mode != "online":
        yield ok("wandb", f"{mode} ({asked}); the ledger has everything anyway")
        return
    if not environment.get("WANDB_API_KEY") and not _knows_wandb():
        yield failure(
            "wandb",
            f"online ({asked}), and no key is known here",
            "set WANDB_API_KEY, run `wandb login`, or set wandb.mode=offline",
        )
        return
    try:
        socket.create_connection((WANDB_HOST, 443), ANSWER_TIMEOUT_S).close()
    except OSError as error:
        yield warning(
            "wandb",
            f"online ({asked}), but {WANDB_HOST} does not answer: {error}",
            "set wandb.mode=offline and `wandb sync` later; a run goes on without it either way",
        )
    else:
        yield ok("wandb", f"online ({asked})")


def _has_token(environment: Mapping[str, str]) -> bool:
    if environment.get("RAY_AUTH_TOKEN"):
        return True
    path = environment.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    return Path(path).expanduser().is_file()


def _answers(address: str) -> Iterator[Finding]:
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdigit():
        return  # `auto`, or another name that Ray knows how to find
    try:
        socket.create_connection((host, int(port)), ANSWER_TIMEOUT_S).close()
    except OSError as error:
        yield failure(
            "ray cluster",
            f"nobody answers at RAY_ADDRESS={address}: {error}",
            "start a cluster there, correct the address, or unset it for a private Ray",
        )
    else:
        yield ok("ray cluster", f"somebody answers at {address}")


def _knows_wandb() -> bool:
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return "wandb" in netrc.read_text("utf-8", "replace")
    except OSError:
        return False
