"""What `jobs/goodput.py` is asked, and how it answers: the account of a run's time as text."""

from pydantic import Field

from system.foundation.errors import BadInput
from system.foundation.settings.record import Record
from system.telemetry.attribution import CAUSES
from system.telemetry.attribution import Cause
from system.telemetry.console import clock
from system.telemetry.goodput import Account
from system.telemetry.goodput import account
from system.telemetry.ledger import read_ledger
from system.telemetry.metrics import METRICS

# Of an attempt only what attempts differ by; the table above has the rest.
OF_ATTEMPTS: tuple[Cause, ...] = ("start_up", "productive", "replayed", "checkpoint", "detection")


class Asking(Record):
    """The run that is asked about."""

    run: str = Field("runs/digits", description="a run's folder or url")


def answer(request: Asking) -> str:
    """The account as text. Raises BadInput where the run has none."""
    spent = account(read_ledger(request.run))
    if not spent.stretches:
        raise BadInput(
            f"run={request.run}: found no ledger that tells of a run's course; expected the folder "
            "of a run, <run.root>/<run.name>, such as runs/digits"
        )
    return text(spent)


def text(spent: Account) -> str:
    """An account in two tables: by cause, and by attempt where there were several."""
    parts = spent.parts_us()
    lines = [
        f"goodput {spent.goodput:.1%} of {clock(spent.wall_s)}"
        + (f", {spent.goodput_while_driven:.1%} of the time with a driver" * (parts["idle"] > 0)),
        "",
        f"  {'spent on':<12}{'seconds':>12}{'share':>9}",
    ]
    lines += [
        f"  {label(cause):<12}{spent.seconds(cause):>12,.1f}{share(spent, cause):>9.2%}"
        f"  {meaning(cause)}"
        for cause in CAUSES
    ]
    lines.append(f"  {'wall time':<12}{spent.wall_s:>12,.1f}{1:>9.2%}")
    if len(spent.attempts) > 1:
        lines += ["", "  attempt" + "".join(f"{label(cause):>12}" for cause in OF_ATTEMPTS)]
        for attempt in spent.attempts:
            seconds = (spent.seconds(cause, attempt) for cause in OF_ATTEMPTS)
            lines.append(f"  {attempt:>7}" + "".join(f"{each:>12,.1f}" for each in seconds))
    return "\n".join(lines)


def label(cause: Cause) -> str:
    """A cause in the words of a table."""
    return {"start_up": "start-up"}.get(cause, cause.replace("_", " "))


def meaning(cause: Cause) -> str:
    """What belongs to a cause."""
    return METRICS[f"goodput/{cause}_s"].meaning


def share(spent: Account, cause: Cause) -> float:
    """A cause's share of the wall time."""
    return spent.parts_us()[cause] / max(1, spent.wall_us)
