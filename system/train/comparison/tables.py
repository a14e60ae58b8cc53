"""The tables themselves: train or measure what is missing, and set ours beside the paper's."""

from collections.abc import Callable
from collections.abc import Sequence

from system.foundation import storage
from system.train.comparison import published
from system.train.comparison.arms import Arm
from system.train.comparison.arms import chosen
from system.train.comparison.arms import spread_arms
from system.train.comparison.markdown import Table
from system.train.comparison.markdown import footer
from system.train.comparison.markdown import spread
from system.train.comparison.request import Comparison
from system.train.comparison.runs import Finished
from system.train.comparison.runs import finished_run

QUALITY = {
    "evaluation/gfid_unguided": "gFID, no guidance",
    "evaluation/gfid": "gFID, guided",
    "evaluation/conditional_accuracy_unguided": "accuracy of drawn images, no guidance",
    "evaluation/conditional_accuracy": "the same, guided",
    "evaluation/rfid": "rFID",
    "evaluation/psnr_db": "PSNR (dB)",
}


def compare(request: Comparison) -> str:
    """The table that is asked for, in Markdown; written to `out` as well where one is given.

    Raises BadInput for arms that the table does not have, and what training raises.
    """
    table, beside, runs = TABLES[request.table](request)
    whole = "\n\n".join((str(table), str(beside), footer(request, runs, command_of(request))))
    if request.out is not None:
        storage.write_bytes(request.out, (whole + "\n").encode())
    return whole


def command_of(request: Comparison) -> str:
    """The command line that asks for the same, places left out."""
    keys = request.model_dump(mode="json", exclude_defaults=True, exclude={"root", "shards", "out"})
    words = [f"{key}={_word(value)}" for key, value in ({"table": request.table} | keys).items()]
    return " ".join(("python jobs/compare_methods.py", *words))


def spreads_and_routes(request: Comparison) -> tuple[Table, Table, list[Finished]]:
    """Table (a)."""
    arms = chosen(spread_arms(), request.arms)
    return _qualities("route and spread", arms, QUALITY, published.COMPONENTS, request)


def _qualities(
    corner: str, arms: Sequence[Arm], columns: dict[str, str], beside: Table, request: Comparison
) -> tuple[Table, Table, list[Finished]]:
    """A row per arm, of numbers that its runs' own evaluations gave."""
    runs, rows = [], []
    for arm in arms:
        found = [finished_run(arm, seed, request) for seed in request.seeds]
        rows.append((arm.title, *(spread([run.values[name] for run in found]) for name in columns)))
        runs += found
    return Table((corner, *columns.values()), tuple(rows)), beside, runs


def _word(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


TABLES: dict[str, Callable[[Comparison], tuple[Table, Table, list[Finished]]]] = {
    "a": spreads_and_routes,
}
