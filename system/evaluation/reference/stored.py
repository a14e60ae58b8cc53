"""A reference of our own as a folder: moments, features of some images, and how it was made.

<folder>/moments.safetensors    mean and scatter, plain and spatial, float64
<folder>/features.safetensors   features of up to 10,000 of the images, float32
<folder>/reference.json         provenance and digests; written last: without it there is none
"""

import hashlib
import json
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save
from torch import Tensor

from system.evaluation.reference.reference import Provenance
from system.evaluation.reference.reference import Reference
from system.evaluation.statistics import FeatureStatistics
from system.foundation import storage
from system.foundation.errors import DataError

RECORD = "reference.json"
MOMENTS = "moments.safetensors"
FEATURES = "features.safetensors"


def write_reference(
    url: str,
    provenance: Provenance,
    moments: FeatureStatistics,
    spatial: FeatureStatistics | None,
    kept: Tensor,
) -> Reference:
    """Write a reference into a folder, and read it back."""
    named = {"features": moments} | ({} if spatial is None else {"spatial": spatial})
    tensors = {
        f"{kind}_{part}": getattr(statistics, part).contiguous()
        for kind, statistics in named.items()
        for part in ("mean", "scatter")
    }
    files = {MOMENTS: save(tensors), FEATURES: save({"features": kept.contiguous()})}
    for name, content in files.items():
        storage.write_bytes(storage.join(url, name), content)
    record = {
        "provenance": provenance.model_dump(mode="json"),
        "files": {name: _blake2b(content) for name, content in files.items()},
    }
    text = json.dumps(record, indent=1) + "\n"
    storage.write_bytes(storage.join(url, RECORD), text.encode())
    return read_stored(url)


def is_stored(url: str) -> bool:
    """Whether a folder holds a reference of our own."""
    return storage.exists(storage.join(url, RECORD))


def read_provenance(url: str) -> Provenance:
    """How the reference in a folder was made. Raises DataError."""
    return _read_record(url)[0]


def read_stored(url: str) -> Reference:
    """The reference in a folder. Raises DataError where it is damaged or of another version."""
    provenance, files = _read_record(url)
    moments = _read_tensors(url, MOMENTS, files)
    kept = _read_tensors(url, FEATURES, files)["features"]
    return Reference(
        url=url,
        digest=_digest(provenance, files),
        provenance=provenance,
        moments=_statistics(moments, "features", provenance.count),
        spatial=_statistics(moments, "spatial", provenance.count),
        kept=kept,
    )


def _read_record(url: str) -> tuple[Provenance, dict[str, str]]:
    place = storage.join(url, RECORD)
    try:
        content: dict[str, Any] = json.loads(storage.read_text(place))
        return Provenance.model_validate(content["provenance"]), dict(content["files"])
    except FileNotFoundError as problem:
        raise DataError(
            f"{url}: found no {RECORD} there; expected a folder that jobs/reference_statistics.py "
            "wrote. One without this file was never finished: run it again"
        ) from problem
    except (ValueError, KeyError, TypeError, ValidationError) as problem:
        raise DataError(
            f"{place} is no record that this code knows ({problem}). Was it written by another "
            "version? Make the reference again with jobs/reference_statistics.py"
        ) from problem


def _read_tensors(url: str, name: str, files: dict[str, str]) -> dict[str, Tensor]:
    place = storage.join(url, name)
    try:
        content = storage.read_bytes(place)
        found = _blake2b(content)
        if found != files[name]:
            raise DataError(
                f"{place}: found a file with digest {found}, expected {files[name]}: it is damaged "
                f"or of another reference. Delete the folder {url} and make it again"
            )
        return load(content)
    except (FileNotFoundError, SafetensorError, KeyError) as problem:
        raise DataError(
            f"{place} is missing or damaged ({type(problem).__name__}). Delete the folder {url} "
            "and make it again with jobs/reference_statistics.py"
        ) from problem


def _statistics(tensors: dict[str, Tensor], kind: str, count: int) -> FeatureStatistics | None:
    if f"{kind}_mean" not in tensors:
        return None
    return FeatureStatistics(count, tensors[f"{kind}_mean"], tensors[f"{kind}_scatter"])


def _digest(provenance: Provenance, files: dict[str, str]) -> str:
    """Of how it was made and what came out; not of the versions that made it."""
    said = provenance.model_dump(mode="json", exclude={"versions", "key", "preset"})
    text = json.dumps([said, files], sort_keys=True)
    return _blake2b(text.encode())


def _blake2b(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
