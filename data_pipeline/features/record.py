"""What a feature set says of itself: which images, seen how, by which weights, stored as what.

It lies in the options of the set's manifest. Whatever decides a feature's value is in its digest.
"""

import json
from collections.abc import Mapping
from typing import Literal

import xxhash
from pydantic import Field

from data_pipeline.images.crop import Crop
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.shard import Split
from system.foundation.errors import DataError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

EXTENSION = "features.safetensors"
MIRRORED = ".mirrored"  # after a feature's name: that of the mirrored image
OPTION = "features"  # of the manifest, beside its digest

Kind = Literal["float32", "float16"]


class Feature(Record):
    """One array of each sample."""

    shape: tuple[PositiveInt, ...] = Field(description="of one sample's array")
    dtype: Kind = Field(description="as it is stored")
    computed_in: str = Field(description="arithmetic of the network that made it")
    weights: str = Field(description="digest of the network that made it")


class FeatureRecord(Record):
    """All that decides what is in a feature set."""

    images: Mapping[Split, str] = Field(description="digest of each split of the images")
    image_size: PositiveInt = Field(description="side of the squares that were looked at")
    image_channels: Literal[1, 3] = Field(description="their channels")
    crop: Crop = Field(description="how they were cut")
    mirrored: bool = Field(description="whether there are features of the mirrored images as well")
    features: Mapping[str, Feature] = Field(description="the arrays of each sample, by name")

    @property
    def digest(self) -> str:
        """xxh3-128 of all of it, hexadecimal."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return xxhash.xxh3_128_hexdigest(content.encode())

    @property
    def arrays(self) -> dict[str, Feature]:
        """The arrays of a member by their names, mirrored ones among them."""
        suffixes = ("", MIRRORED) if self.mirrored else ("",)
        return {
            name + suffix: feature for name, feature in self.features.items() for suffix in suffixes
        }

    def lacks(self, wanted: "FeatureRecord") -> list[str]:
        """A line for each thing in which this set is not what is `wanted`; none where it serves.

        A set may hold more: other splits, other features, mirrored images. Its dtype and arithmetic
        are its own.
        """
        problems = [
            f"{key}: {getattr(self, key)} there, {getattr(wanted, key)} wanted"
            for key in ("image_size", "image_channels", "crop")
            if getattr(self, key) != getattr(wanted, key)
        ]
        problems += [
            f"images of split {split}: {_said(self.images.get(split))} there, {digest} wanted"
            for split, digest in wanted.images.items()
            if self.images.get(split) != digest
        ]
        if wanted.mirrored and not self.mirrored:
            problems.append("mirrored images: not looked at, but data.flip is true")
        for name, feature in wanted.features.items():
            problems += _differing(name, self.features.get(name), feature)
        return problems


def record_of(manifest: Manifest) -> FeatureRecord:
    """What a feature set's manifest says of it. Raises DataError for shards of something else."""
    try:
        return FeatureRecord.model_validate(manifest.options[OPTION])
    except (KeyError, ValueError) as problem:
        raise DataError(
            f"{manifest.url}: its manifest is not one of features ({problem}). Expected a folder "
            "that jobs/precompute_features.py has written; set data.features to one, or to null."
        ) from problem


def options_of(record: FeatureRecord) -> dict[str, object]:
    """The options of a feature set's manifest; by them tools find the features in its tars."""
    return {
        "indexed": {"names": "*.tar", "image": EXTENSION, "label_field": None},
        OPTION: record.model_dump(mode="json"),
        f"{OPTION}_digest": record.digest,
    }


def _differing(name: str, there: Feature | None, wanted: Feature) -> list[str]:
    if there is None:
        return [f"{name}: not among its features"]
    return [
        f"{name}: {words} {getattr(there, key)} there, {getattr(wanted, key)} wanted"
        for key, words in (("shape", "shape"), ("weights", "of weights with digest"))
        if getattr(there, key) != getattr(wanted, key)
    ]


def _said(digest: str | None) -> str:
    return "none" if digest is None else digest
