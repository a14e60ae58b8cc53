"""What is wrong with shards, compared with their manifest: every shard is read again, once.

A shard whose bytes are not those packed is read a second time, to name each of its damaged samples.
"""

import fnmatch
import json
from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import xxhash
from pydantic import Field

from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import shard_sizes
from data_pipeline.shards.shard import Shard
from data_pipeline.tars.foreign import check_keys
from data_pipeline.tars.foreign import labelling_of
from data_pipeline.tars.index import index_shard
from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.listing import expanded
from data_pipeline.tars.tar_stream import Opened
from data_pipeline.tars.tar_stream import read_all
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.wording import counted

SHOWN = 20  # findings of one shard; the report has them all

_UNKNOWN = "is not in the manifest"


class Verification(Record):
    """Which shards to read again, and how."""

    url: str = Field("shards", description="folder or url of the shards and their manifest")
    threads: PositiveInt = Field(4, description="shards read at one time")
    report: str | None = Field(None, description="file or url for all findings as JSON; null: none")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the manifest says."""

    shard: str
    reason: str
    key: str | None = None
    start: int | None = None  # bytes start … stop-1 of the shard
    stop: int | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it is a whole tar that the manifest does not name."""
        return self.key is None and self.reason == _UNKNOWN

    def line(self, url: str) -> str:
        """Url, bytes, key and reason."""
        where = storage.join(url, self.shard)
        if self.start is not None:
            where += f" bytes {self.start}-{self.stop}"
        return f"{where}: {self.reason if self.key is None else f'{self.key!r} {self.reason}'}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and what was found."""

    manifest: Manifest
    findings: tuple[Finding, ...]

    def summary(self) -> str:
        """A line for each finding, and one for all of them."""
        lines = []
        for _, found in groupby(self.findings, lambda finding: finding.shard):
            each = [finding.line(self.manifest.url) for finding in found]
            lines += each[:SHOWN]
            if len(each) > SHOWN:
                lines.append(f"  ... and {len(each) - SHOWN} more; report=FILE writes them all")
        manifest = self.manifest
        held = counted(len(manifest.shards), "shard"), counted(manifest.samples, "sample")
        read = f"{', '.join(held)}, {manifest.bytes} bytes"
        if not self.findings:
            return f"{manifest.url}: all is as the manifest says: {read}"
        shards = counted(len({finding.shard for finding in self.findings}), "shard")
        samples = counted(len({f.key for f in self.findings if f.key is not None}), "sample")
        lines.append(
            f"{manifest.url}: {counted(len(self.findings), 'finding')} in {shards}, {samples} "
            f"named, of {read}. {' '.join(self._advice())}"
        )
        return "\n".join(lines)

    def _advice(self) -> Iterator[str]:
        """What to do, for each kind of finding that there is."""
        unknown = [each for each in self.findings if each.is_unknown]
        if len(unknown) < len(self.findings):
            yield (
                "Copy the damaged shards again from where they were packed, or remove them and "
                "pack again (the same command and options make what is missing)."
            )
        if unknown:
            yield (
                "Remove the tars that are not in the manifest, or index again with them (`python "
                f"jobs/index_shards.py {self.manifest.url} on_existing=replace`)."
            )

    def to_json(self) -> str:
        """All findings, for programs."""
        manifest = self.manifest
        content = {
            "url": manifest.url,
            "digest": manifest.digest,
            "shards": len(manifest.shards),
            "samples": manifest.samples,
            "bytes": manifest.bytes,
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(content, indent=1)


def verify(recipe: Verification) -> Verified:
    """Read all shards again. Raises DataError where the manifest itself cannot be read."""
    manifest = parse_manifest(recipe.url)
    present = shard_sizes(manifest)
    named = {shard.name: shard for shard in manifest.shards}
    # Of what lies there, only tars that could have been meant: others may be of another set.
    patterns = expanded(manifest.options.get("indexed", {}).get("names", "*.tar"))
    findings = [Finding(name, "is missing") for name in named if name not in present]
    findings += [
        Finding(name, _UNKNOWN)
        for name in present
        if name not in named and any(fnmatch.fnmatchcase(name, each) for each in patterns)
    ]
    labelling = labelling_of(manifest)
    sizes = {name: present[name] for name in named if name in present}
    found = read_all(
        recipe.url,
        sizes,
        lambda opened: _verify_shard(named[opened.name], opened, labelling),
        threads=recipe.threads,
        title=f"verifying {counted(len(sizes), 'shard')}",
    )
    for each in found:
        findings += each
    findings += _doubled(manifest)
    verified = Verified(manifest, tuple(findings))
    if recipe.report is not None:
        storage.write_bytes(recipe.report, verified.to_json().encode())
    return verified


def _verify_shard(shard: Shard, opened: Opened, labelling: Labelling) -> list[Finding]:
    """What is wrong with one shard: nothing, after one pass, where nothing is."""
    findings = []
    members: ShardIndex | None = None
    try:
        indexed = index_shard(opened.stream(), labelling)
        members = indexed.index
        if (indexed.digest, members.digest) == (shard.digest, shard.index_digest):
            return []
    except DataError as problem:
        reason = str(problem).removeprefix(opened.url).removeprefix(":").strip()
        findings.append(Finding(shard.name, reason))
    try:
        expected = shard.index
    except DataError as problem:
        return [*findings, Finding(MANIFEST_NAME, str(problem))]
    if opened.size != shard.bytes:
        findings.append(Finding(shard.name, f"has {opened.size} bytes, expected {shard.bytes}"))
    findings += _damaged(shard, expected, opened)
    if members is not None:
        findings += _disagreeing(shard.name, expected, members)
    return findings or [Finding(shard.name, "differs from its manifest")]


def _damaged(shard: Shard, expected: ShardIndex, opened: Opened) -> Iterator[Finding]:
    """Samples whose bytes are not those packed; else that other bytes are not."""
    stream, damaged = opened.stream(), 0
    for row in np.argsort(expected.offsets, kind="stable").tolist():
        start, length = int(expected.offsets[row]), int(expected.lengths[row])
        reason = None
        if start < 0 or length < 0 or start + length > opened.size:
            reason = f"should lie there, in a file of {opened.size} bytes"
        elif xxhash.xxh3_64_intdigest(stream.read(start, length)) != int(expected.digests[row]):
            reason = "has other bytes than were packed"
        if reason is not None:
            damaged += 1
            yield Finding(shard.name, reason, expected.keys[row], start, start + length)
    digest = stream.finish()
    if digest != shard.digest and not damaged:
        yield Finding(
            shard.name,
            f"has other bytes between its images, headers or labels (xxh3-128 {digest}, expected "
            f"{shard.digest})",
        )


def _disagreeing(name: str, expected: ShardIndex, found: ShardIndex) -> Iterator[Finding]:
    """Where the members of a sound tar are others than the manifest says."""
    rows = {key: row for row, key in enumerate(found.keys)}
    for row, key in enumerate(expected.keys):
        start, length = int(expected.offsets[row]), int(expected.lengths[row])
        there = rows.pop(key, None)
        if there is None:
            yield Finding(name, "is not in the tar", key, start, start + length)
            continue
        at, size = int(found.offsets[there]), int(found.lengths[there])
        if (at, size) != (start, length):
            reason = f"lies at bytes {at}-{at + size} of the tar"
            yield Finding(name, reason, key, start, start + length)
        if found.labels[there] != expected.labels[row]:
            reason = f"has label {found.labels[there]} in the tar, {expected.labels[row]} expected"
            yield Finding(name, reason, key, start, start + length)
    if not rows and {*expected.keys} == {*found.keys} and [*expected.keys] != [*found.keys]:
        yield Finding(name, "holds its samples in another order than the manifest")
    for key, row in rows.items():
        start, length = int(found.offsets[row]), int(found.lengths[row])
        yield Finding(name, _UNKNOWN, key, start, start + length)


def _doubled(manifest: Manifest) -> list[Finding]:
    """A key of two shards: the manifest cannot be right then."""
    try:
        check_keys(manifest.url, manifest.shards)
    except DataError as problem:
        return [Finding(MANIFEST_NAME, str(problem))]
    return []
