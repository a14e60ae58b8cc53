"""What `jobs/audit_run.py` is asked, and what it answers."""

from itertools import groupby
from textwrap import shorten

from pydantic import Field

from data_pipeline.audit.lineage import Origin
from data_pipeline.audit.lineage import trace
from data_pipeline.audit.proof import Epoch
from data_pipeline.audit.proof import Proof
from data_pipeline.audit.proof import prove
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import parse_manifest
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import Record
from system.telemetry.ledger import FOLDER
from system.telemetry.ledger import read_ledger

_WIDEST = 300  # characters of one of them there
_SHOWN = 20  # exceptions on the terminal; a report has all


class Audit(Record):
    """Prove from its ledger what a run was trained on."""

    run: str = Field(description="the run's folder or url")
    shards: str | None = Field(
        None, description="where the shards lie now; null: where the ledger says"
    )
    report: str | None = Field(
        None, description="file or url for the whole text, every exception in full"
    )


def audit(request: Audit) -> tuple[Proof, str]:
    """The proof, and its text. Raises DataError for a run without an account of its data."""
    events = read_ledger(request.run)
    if not events:
        raise DataError(
            f"{storage.join(request.run, FOLDER)}: no ledger here. Give a run's folder: the one "
            "that holds recipe.yaml."
        )
    notes: list[str] = []

    def open_manifest(origin: Origin) -> Manifest | None:
        url = request.shards or origin.shards
        try:
            manifest = parse_manifest(url).split(origin.split)  # type: ignore[arg-type]
        except DataError as problem:
            notes.append(f"without the manifest ({problem})")
            return None
        if manifest.digest != origin.manifest_digest:
            notes.append(f"without the manifest (that at {url} is another one by now)")
            return None
        return manifest

    proof = prove(trace(events), open_manifest)
    if request.report is not None:
        storage.write_bytes(request.report, _text(request.run, proof, notes, None).encode())
    return proof, _text(request.run, proof, notes, _SHOWN)


def _text(run: str, proof: Proof, notes: list[str], shown: int | None) -> str:
    lineage = proof.lineage
    attempts = f"{lineage.attempts} attempt{'s' * (lineage.attempts != 1)}"
    lines = [f"{run}: {lineage.stop:,} positions in {attempts}"]
    lines += [
        f"  attempt {attempt}: positions {start:,} to {stop:,} were undone by a restart"
        for attempt, start, stop in _merged(lineage.undone)
    ]
    lines += _epoch_lines(proof.epochs)
    lines += [f"  {note}" for note in notes]
    lines += _listed("exceptions", proof.exceptions, shown)
    lines += _listed("violations", proof.violations, shown)
    if proof.holds and not proof.epochs:
        lines.append("nothing to prove: no interval was consumed to its end")
    elif proof.holds:
        lines.append(f"proven: {_claim(proof)}")
    elif proof.violations:
        lines.append("NOT proven: see the violations")
    else:
        lines.append(
            "NOT proven in full: without the manifest, only the positions of the epochs that are "
            "not whole are known; give shards=URL"
        )
    return "\n".join(lines)


def _claim(proof: Proof) -> str:
    whole = [epoch for epoch in proof.epochs if epoch.is_whole]
    claims = ["every key was trained on exactly once per whole epoch"] if whole else []
    if len(whole) < len(proof.epochs):
        claims.append("no key twice in one that is not whole")
    return ", ".join(claims) + (", but for the exceptions" if proof.exceptions else "")


def _merged(spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Spans of one attempt that touch as one, in order."""
    merged: list[tuple[int, int, int]] = []
    for attempt, start, stop in sorted(spans):
        if merged and merged[-1][0] == attempt and merged[-1][2] == start:
            start = merged.pop()[1]
        merged.append((attempt, start, stop))
    return merged


def _epoch_lines(epochs: list[Epoch]) -> list[str]:
    lines = []
    for (is_whole, length), alike in groupby(
        epochs,
        lambda epoch: (
            epoch.is_whole,
            epoch.origin.samples_per_epoch,
        ),
    ):
        run = list(alike)
        if is_whole:
            first, last = run[0].number, run[-1].number
            named = f"epoch {first}" if first == last else f"epochs {first} to {last}"
            lines.append(f"  {named}: whole, {length:,} positions each")
            continue
        lines += [
            f"  epoch {each.number}: {each.positions:,} of {length:,} positions" for each in run
        ]
    return lines


def _listed(what: str, entries: list[str], shown: int | None) -> list[str]:
    if not entries:
        return [f"  {what}: none"]
    lines = [f"  {what}: {len(entries):,}"]
    if shown is None:
        return lines + [f"    {entry}" for entry in entries]
    lines += [f"    {shorten(entry, _WIDEST, placeholder=' …')}" for entry in entries[:shown]]
    if len(entries) > shown:
        lines.append(f"    … and {len(entries) - shown:,} more: give report=FILE")
    return lines
