"""A feature set as it is written, by as many processes as like to: one shard at a time.

`features.json` says what the set is to be; it is written first, and stays. The folder `unfinished`
has a manifest of its own for each shard that is done, written after the tar; whoever finds all of
them joins them, and removes the folder.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from pydantic import ValidationError

from data_pipeline.features.record import EXTENSION
from data_pipeline.features.record import FeatureRecord
from data_pipeline.features.record import options_of
from data_pipeline.pack.tar_shard import TarShard
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import shard_sizes
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.shards.shard import Shard
from data_pipeline.shards.shard import make_shard
from data_pipeline.sources.patience import patiently
from system.foundation import storage
from system.foundation.errors import DataError

STATEMENT_NAME = "features.json"
FOLDER = "unfinished"


class Unfinished:
    """The state of a feature set at `url`, for the images of `images`: all splits it is to have."""

    def __init__(self, url: str, images: Manifest, record: FeatureRecord) -> None:
        self._planned = replace(images, url=url, options=options_of(record), whole=None)
        self._record = record

    def start(self) -> None:
        """Say what is to be here. Raises DataError where something else is."""
        url = self._planned.url
        present, place = storage.list_names(url), storage.join(url, STATEMENT_NAME)
        if STATEMENT_NAME in present:
            self._check_same(place)
            return
        foreign = sorted(n for n in present if n.endswith(".tar") or n == MANIFEST_NAME)
        if foreign:
            raise DataError(
                f"{url}: holds {foreign[0]} and {len(foreign) - 1} more files of a data set, but "
                f"no {STATEMENT_NAME}. Nothing was changed; give another data.features."
            )
        storage.write_bytes(place, self._record.model_dump_json().encode())

    def done(self) -> dict[str, Shard]:
        """The shards that are done, by name: in the manifest or noted, and of the right size."""
        sizes = shard_sizes(self._planned)
        shards = [*self._read(self._planned.url)]
        noted = storage.list_names(storage.join(self._planned.url, FOLDER))
        for name in noted:
            shards += self._read(storage.join(self._planned.url, FOLDER, name))
        return {shard.name: shard for shard in shards if sizes.get(shard.name) == shard.bytes}

    def keep(self, shard: Shard, members: Sequence[bytes]) -> Shard:
        """Write the features of all samples of a shard of images, whole or not at all."""
        tar = TarShard()
        for key, label, data in zip(shard.keys, shard.labels.tolist(), members, strict=True):
            tar.add(key, EXTENSION, data, label)
        digest = tar.finish()
        place = storage.join(self._planned.url, shard.name)
        patiently(place, lambda: storage.write_parts(place, tar.parts))
        made = make_shard(shard.name, shard.split, tar.size, digest, tar.index())
        note = replace(self._planned, url=self._note(shard.name), shards=(made,))
        patiently(place, lambda: write_manifest(note))
        return made

    def finish(self) -> int:
        """Write the manifest if all shards are done. Returns how many are not."""
        found = self.done()
        if missing := sum(shard.name not in found for shard in self._planned.shards):
            found = self.done()  # another process may have joined them between two looks
            missing = sum(shard.name not in found for shard in self._planned.shards)
        if missing:
            return missing
        joined = replace(
            self._planned, shards=tuple(found[shard.name] for shard in self._planned.shards)
        )
        patiently(joined.url, lambda: write_manifest(joined))
        storage.remove(storage.join(self._planned.url, FOLDER))
        return 0

    def _read(self, url: str) -> tuple[Shard, ...]:
        """The shards of a manifest or a note of this very set; none where it is absent or damaged:
        what is not known to be done is made again."""
        try:
            found = parse_manifest(url)
        except DataError:
            return ()
        return found.shards if found.options == self._planned.options else ()

    def _note(self, name: str) -> str:
        return storage.join(self._planned.url, FOLDER, name.replace("/", "%2F"))

    def _check_same(self, place: str) -> None:
        try:
            there = FeatureRecord.model_validate(json.loads(storage.read_bytes(place)))
        except (ValueError, ValidationError) as problem:
            raise DataError(
                f"{place}: damaged ({problem}). Give another data.features, or remove that folder."
            ) from problem
        if there == self._record:
            return
        old, new = there.model_dump(mode="json"), self._record.model_dump(mode="json")
        changed = [
            f"{key}: {old[key]} there, {new[key]} now" for key in old if old[key] != new[key]
        ]
        raise DataError(
            f"{self._planned.url}: already holds other features: {'; '.join(changed)}. Nothing was "
            "changed; give another data.features, or remove that folder first."
        )
