"""The versions of what a run computes with."""

import platform
from importlib import metadata

PACKAGES = ("torch", "deepspeed", "ray", "webdataset", "timm", "numpy", "pydantic", "wandb")


def versions() -> dict[str, str | None]:
    """Each package's version, by name; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
