"""What lies at a pack's place before its manifest does, so that a killed pack can be taken up.

`pack.json` says what is being packed from and with; it is written first, and stays. The folder
`unfinished` has one small file for each shard that is done, written after the tar, and what a scan
of archives found; it goes when the manifest is written.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import xxhash

from data_pipeline.pack.pack_shard import PackedShard
from data_pipeline.pack.plan import PlannedShard
from data_pipeline.pack.recipe import FREE
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.report import REPORT_NAME
from data_pipeline.pack.report import PackReport
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.shard import make_shard
from data_pipeline.sources.entry import Source
from data_pipeline.sources.patience import patiently
from system.foundation import storage
from system.foundation.errors import DataError

STATEMENT_NAME = "pack.json"
FOLDER = "unfinished"
_NOTES = 2  # the form of notes: those of another are as good as none


class Unfinished:
    """The state of one pack at `out`."""

    def __init__(self, recipe: PackRecipe) -> None:
        self._out = recipe.out
        self._options = options_of(recipe)
        self._digest = ""  # of the statement, known with the source
        self.folder = storage.join(recipe.out, FOLDER)

    def check_options(self) -> None:
        """Raise DataError where other data, or a pack with other options, lies at `out`.

        Nothing is written, and the source need not be listed yet.
        """
        there = self._statement()
        if there is not None:
            self._check_same({"options": self._options, "source_digest": there["source_digest"]})

    def start(self, source: Source) -> Manifest | None:
        """The manifest of the same pack where it was finished; else the statement is written.

        Raises DataError where another pack lies at `out`.
        """
        statement = {"options": self._options, "source_digest": _source_digest(source)}
        decisive = {key: value for key, value in self._options.items() if key not in FREE}
        row = json.dumps([_NOTES, decisive, statement["source_digest"]])
        self._digest = xxhash.xxh3_128_hexdigest(row.encode())
        there = self._statement()
        if there is not None:
            self._check_same(statement)
            finished = self._finished()
            if finished is not None:
                return finished
        if there != statement:
            place = storage.join(self._out, STATEMENT_NAME)
            storage.write_bytes(place, json.dumps(statement).encode())
        return None

    def keep(self, packed: PackedShard) -> None:
        """Note that a shard is done; its tar is there already."""
        content = {"statement": self._digest} | _to_json(packed)
        place = storage.join(self.folder, f"{packed.name}.json")
        patiently(place, lambda: storage.write_bytes(place, json.dumps(content).encode()))

    def done(self, planned: Mapping[str, PlannedShard]) -> dict[str, PackedShard]:
        """The shards that are done, by name: noted as such, and of the noted size."""
        sizes = storage.list_sizes(self._out)
        noted = {name.removesuffix(".json") for name in storage.list_names(self.folder)}
        found = {}
        for name in planned.keys() & noted:
            # A note that cannot be read is as good as none: the shard is made again.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                packed = self._read(planned[name])
                if packed.shard is None or sizes.get(name) == packed.shard.bytes:
                    found[name] = packed
        return found

    def lost(self, finished: Manifest) -> set[str]:
        """The shards of a finished pack that are missing, or have another size."""
        sizes = storage.list_sizes(self._out)
        return {each.name for each in finished.shards if sizes.get(each.name) != each.bytes}

    def clear(self) -> None:
        """Remove what is of no use once the manifest is there."""
        storage.remove(self.folder)
        if storage.is_local(self._out):
            for cut_off in storage.local_path(self._out).glob(".*.tar.*.part"):
                cut_off.unlink(missing_ok=True)

    def _read(self, planned: PlannedShard) -> PackedShard:
        place = storage.join(self.folder, f"{planned.name}.json")
        content = json.loads(storage.read_bytes(place))
        if content["statement"] != self._digest:
            raise ValueError("of another pack")
        return _from_json(planned, content)

    def _statement(self) -> dict[str, Any] | None:
        """What `out` says it is. Raises DataError where it holds data that is not ours."""
        present = storage.list_sizes(self._out)
        place = storage.join(self._out, STATEMENT_NAME)
        if STATEMENT_NAME not in present:
            foreign = sorted(n for n in present if n.endswith(".tar") or n == MANIFEST_NAME)
            if foreign:
                raise DataError(
                    f"{self._out}: holds {foreign[0]} and {len(foreign) - 1} more files of a data "
                    f"set, but no {STATEMENT_NAME} of this packer. Nothing was changed; give "
                    "another `out`."
                )
            return None
        try:
            there = json.loads(storage.read_bytes(place))
            return {"options": dict(there["options"]), "source_digest": there["source_digest"]}
        except (ValueError, KeyError, TypeError) as problem:
            raise DataError(f"{place}: damaged ({problem}). Give another `out`.") from problem

    def _check_same(self, statement: dict[str, Any]) -> None:
        there = self._statement()
        assert there is not None, "the caller has looked"
        old, new = there["options"], statement["options"]
        changed = [key for key in new if key not in FREE and old.get(key) != new[key]]
        changed += [key for key in old if key not in new and key not in FREE]
        if there["source_digest"] != statement["source_digest"]:
            changed.append("the source's files")
        if changed:
            raise self._other(", ".join(changed))

    def _other(self, changed: str) -> DataError:
        if storage.exists(storage.join(self._out, MANIFEST_NAME)):
            return DataError(
                f"{self._out}: already holds another pack (different: {changed}). Nothing was "
                "changed; give another `out`, or remove that folder first."
            )
        return DataError(
            f"{self._out}: holds an unfinished pack with other options (different: {changed}). "
            "Nothing was changed; to go on with it, give the options of "
            f"{storage.join(self._out, STATEMENT_NAME)}; to begin anew with these, remove that "
            "folder first, or give another `out`."
        )

    def _finished(self) -> Manifest | None:
        if not {MANIFEST_NAME, REPORT_NAME} <= storage.list_sizes(self._out).keys():
            return None
        try:
            return parse_manifest(self._out)
        except DataError:
            return None  # the same command writes it again


def options_of(recipe: PackRecipe) -> dict[str, Any]:
    """What decides the bytes of a pack, with the bound that it kept to."""
    return recipe.model_dump(mode="json", exclude={"out", "workers"})


def _source_digest(source: Source) -> str:
    state = xxhash.xxh3_128(json.dumps(source.class_names).encode())
    for entry in source.entries:
        row = [entry.key, entry.label, entry.extension, entry.length]
        row += [] if entry.split is None else [entry.split]
        state.update(json.dumps(row).encode())
    return state.hexdigest()


def _to_json(packed: PackedShard) -> dict[str, Any]:
    content: dict[str, Any] = {
        "sizes": packed.sizes,
        "read": packed.read,
        "report": asdict(packed.report) | {"ignored_files": ()},  # these are the source's
        "shard": None,
    }
    if packed.shard is not None:
        index = packed.shard.index
        content["shard"] = {
            "bytes": packed.shard.bytes,
            "digest": packed.shard.digest,
            "index_digest": packed.shard.index_digest,
            "keys": [*index.keys],
            "labels": index.labels.tolist(),
            "offsets": index.offsets.tolist(),
            "lengths": index.lengths.tolist(),
            "digests": index.digests.tolist(),
        }
    return content


def _from_json(planned: PlannedShard, content: Mapping[str, Any]) -> PackedShard:
    """The shard of a note. Raises ValueError, KeyError or TypeError where the note is damaged."""
    shard, rows = None, content["shard"]
    if rows is not None:
        index = ShardIndex(
            keys=tuple(rows["keys"]),
            labels=np.array(rows["labels"], np.int32),
            offsets=np.array(rows["offsets"], np.int64),
            lengths=np.array(rows["lengths"], np.int64),
            digests=np.array(rows["digests"], np.uint64),
        )
        shard = make_shard(planned.name, planned.split, rows["bytes"], rows["digest"], index)
        if shard.index_digest != rows["index_digest"]:
            raise ValueError("its rows are damaged")
    sizes = tuple((width, height) for width, height in content["sizes"])
    return PackedShard(
        planned.name,
        shard,
        sizes,
        content["read"],
        PackReport(**content["report"] | {"ignored_files": ()}),
    )
