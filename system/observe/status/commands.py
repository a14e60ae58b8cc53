"""What to type to resume, stop or export a run: text to copy. The page itself does none of it."""

import shlex
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from system.telemetry.ledger import Event

Start = Mapping[str, Any]


def commands(url: str, starts: Sequence[Start], events: Sequence[Event]) -> list[dict[str, str]]:
    """Commands under what they are for, each with a sentence; those that can be known of this run.

    `starts` are those of its provenance, `events` its ledger's.
    """
    start = starts[-1] if starts else {}
    name = url.rstrip("/").rpartition("/")[2] or "run"
    checkpoints = [str(e["checkpoint"]) for e in events if _is_checkpoint(e)]
    newest = checkpoints[-1] if checkpoints else url
    return [
        *_resume(start),
        *_stop(start, events),
        _command(
            "export",
            ["python", "jobs/export_weights.py", f"checkpoint={newest}", f"out=released/{name}"],
            "Averaged weights of the newest checkpoint, with a card, as a folder for a model hub.",
        ),
        _command(
            "evaluate",
            ["python", "jobs/evaluate.py", f"checkpoint={newest}"],
            "Measures the newest checkpoint now.",
        ),
        _command(
            "report",
            ["python", "jobs/report.py", f"run={url}"],
            "Everything that is known of the run, as one file that loads nothing.",
        ),
        _command(
            "account",
            ["python", "jobs/goodput.py", url],
            "Where its time went, by cause and by attempt.",
        ),
    ]


def _resume(start: Start) -> list[dict[str, str]]:
    arguments = start.get("arguments")
    if not isinstance(arguments, list) or not arguments:
        return []
    words = ["python", *map(str, arguments)]
    says = "The same command goes on from the newest whole checkpoint; where all is done it says so"
    if start.get("job") or start.get("tree"):
        words = ["ray", "job", "submit", "--working-dir", ".", "--", *words]
        return [_command("resume", words, f"{says}. From a clone of the project.")]
    folder = start.get("folder")
    text = shlex.join(words)
    if isinstance(folder, str):
        text = f"cd {shlex.quote(folder)} && {text}"
    return [{"for": "resume", "command": text, "says": f"{says}."}]


def _stop(start: Start, events: Sequence[Event]) -> list[dict[str, str]]:
    says = (
        "Ends the driver and what it started; nothing before the newest checkpoint is lost, and "
        "`resume` goes on from there."
    )
    if start.get("job"):
        return [_command("stop", ["ray", "job", "stop", str(start["job"])], says)]
    drivers = [e for e in events if e["kind"] == "driver_started" and e.get("process")]
    if not drivers:
        return []
    host = drivers[-1].get("host", "its host")
    return [
        _command("stop", ["kill", "-TERM", str(drivers[-1]["process"])], f"On {host}. {says}"),
    ]


def _is_checkpoint(event: Event) -> bool:
    return event["kind"] == "checkpoint" and bool(event.get("checkpoint"))


def _command(what: str, words: Sequence[str], says: str) -> dict[str, str]:
    return {"for": what, "command": shlex.join(words), "says": says}
