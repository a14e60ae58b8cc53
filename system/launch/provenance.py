"""Where a run comes from: the recipe, the origin of every value, the code and its versions."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from system.foundation import storage
from system.foundation.config import Resolved
from system.foundation.config import recipe_digest
from system.foundation.recipe import Recipe
from system.foundation.versions import versions

# Who submits a job knows the commit; the copy of the tree that Ray makes has no history.
COMMIT_VARIABLE = "LATENT_FLOWS_COMMIT"
# Ray's own (2.60), in the environment of a submitted program.
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def commit(root: Path) -> str | None:
    """The commit of the tree, with `+changes` where the tree differs; None if nobody knows."""
    told = os.environ.get(COMMIT_VARIABLE)
    if told is not None:
        return told or None
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return None
    return f"{head}+changes" if _git(root, "status", "--porcelain") else head


def submission_id() -> str | None:
    """The id under which this program was submitted to Ray as a job; None where it was not."""
    try:
        given = json.loads(os.environ.get(JOB_VARIABLE, "{}"))
        return str(given["metadata"]["job_submission_id"])
    except (ValueError, KeyError, TypeError):
        return None


def provenance(resolved: Resolved[Recipe], root: Path) -> dict[str, Any]:
    """What `provenance.json` says of one start of a run."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "job": submission_id(),
        "commit": commit(root),
        "tree": root.name if "_ray_pkg_" in root.name else None,
        "recipe_digest": recipe_digest(resolved.recipe),
        "origins": resolved.sources,
        "versions": versions(),
        "host": platform.node(),
        "processors": os.cpu_count(),
    }


def write_provenance(url: str, resolved: Resolved[Recipe], root: Path) -> None:
    """Write `recipe.yaml` and `provenance.json` into the run's folder.

    Every start of a run adds to the list of `starts`, so that an earlier one is not forgotten.
    """
    place = storage.join(url, "provenance.json")
    starts = json.loads(storage.read_text(place))["starts"] if storage.exists(place) else []
    starts.append(provenance(resolved, root))
    storage.write_bytes(storage.join(url, "recipe.yaml"), resolved.to_yaml().encode())
    storage.write_bytes(place, (json.dumps({"starts": starts}, indent=1) + "\n").encode())


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
