"""A plan as people read it: a few tables, the widest 100 columns."""

import io
import json
import math
from dataclasses import asdict
from dataclasses import fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.console import Group
from rich.table import Table
from rich.text import Text

from system.launch.plan.forecast import Plan
from system.launch.plan.memory import Held
from system.launch.plan.rows import Staged

WIDTH = 100
STEPS = ("", "k", "M", "G", "T", "P", "E")


def text(plan: Plan) -> str:
    """The plan without colours."""
    written = io.StringIO()
    Console(file=written, width=WIDTH, no_color=True).print(shown(plan))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def shown(plan: Plan) -> Group:
    """The plan for a terminal."""
    parts: list[Any] = [
        Text(
            f"{plan.run}: {plan.total_images:,} images in {plan.updates:,} updates; on "
            f"{plan.workers} GPUs {plan.passes} x {plan.micro_batch} images each",
            "bold",
        ),
        _computation(plan),
        _memory(plan),
        _storage(plan),
        _rows(plan),
        _network(plan),
    ]
    parts += [
        Text(f"✗ {row.count} x {row.gpu}: {row.problem}", "red") for row in plan.rows if row.problem
    ]
    parts += [Text(f"! {warning}", "yellow") for warning in plan.warnings]
    return Group(*parts)


def as_json(plan: Plan) -> str:
    """The plan for programs: bytes, seconds, US dollars; null for what never ends or is unknown."""
    whole = asdict(plan)
    for course in ("kept", "checkpointed", "saved"):  # a moment for every weight
        del whole["compute"][course]
    return json.dumps(_finite(whole), indent=1) + "\n"


def short(number: float, unit: str = "") -> str:
    """A number in three digits and a step of a thousand: 2.76 TFLOP."""
    step = 0
    while abs(number) >= 999.5 and step + 1 < len(STEPS):
        number, step = number / 1000, step + 1
    digits = 0 if step == 0 and float(number).is_integer() else max(0, 2 - int(abs(number) >= 10))
    return f"{number:.{digits}f} {STEPS[step]}{unit}".strip()


def gib(count: float) -> str:
    """Bytes in GiB, or in MiB where these are few."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.1f} MiB"


def lasting(seconds: float) -> str:
    """A duration in days, hours or minutes."""
    if not math.isfinite(seconds):
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _computation(plan: Plan) -> Table:
    compute = plan.compute
    table = _table("parameters and operations of one image", "part", ">parameters", ">forward")
    for name, number in compute.parameters.items():
        forward = compute.forward_flops.get(name)
        table.add_row(name, short(number), "" if forward is None else short(forward, "FLOP"))
    model = compute.forward_flops["model"]
    table.add_row("encoder, decoder, flow, heads", "", short(model, "FLOP"))
    table.add_row("backward, through all of it", "", short(compute.backward_flops, "FLOP"))
    table.add_row(
        "one image", short(sum(compute.parameters.values())), short(compute.flops, "FLOP")
    )
    return table


def _memory(plan: Plan) -> Table:
    names = [field.name for field in fields(Held)]
    table = _table(
        f"memory of one of {plan.workers} GPUs, {plan.micro_batch} images in a pass",
        "",
        *(f">ZeRO-{name}" for name in plan.memory),
    )
    table.caption = (
        f"this recipe: ZeRO-{plan.own}. Checkpointed: with flow.checkpoint_activations, by which "
        "activations are computed again in the backward pass.\n"
    )
    for name in names:
        table.add_row(name, *(gib(getattr(each, name)) for each in plan.memory.values()))
    table.add_row("at most", *(gib(each.total) for each in plan.memory.values()), style="bold")
    return table


def _storage(plan: Plan) -> Table:
    stored = plan.storage
    known = "" if stored.image_is_known else " (assumed: data.shards cannot be read)"
    table = _table("storage", "", ">bytes", "")
    table.add_row("a checkpoint", gib(stored.checkpoint), f"{stored.checkpoints_made:,} are made")
    table.add_row("checkpoints at once", gib(stored.kept), "run.keep_checkpoints, and one more")
    table.add_row("the ledger", gib(stored.logs), "")
    table.add_row("an image", short(stored.image, "B"), known.strip())
    if stored.dataset is not None:
        table.add_row("the data set", gib(stored.dataset), "")
    table.add_row("images read", short(stored.read, "B"), "over the whole run, without a cache")
    return table


def _rows(plan: Plan) -> Table:
    table = _table(
        "on GPUs", "GPU", ">count", ">pass", ">memory", ">images/s", ">time", ">GPU-h", ">cost",
        ">reads",
    )  # fmt: skip
    table.caption = (
        f"this recipe: {plan.workers} GPUs, ZeRO-{plan.own}. Pass: its images, of the most that "
        "the batch and memory allow.\n"
    )
    for row in plan.rows:
        if row.problem:  # a line of its own: see `shown`
            continue
        cost = "?" if row.cost is None else f"${row.cost:,.0f}"
        table.add_row(
            row.gpu,
            str(row.count),
            f"{row.micro_batch} of {row.largest}",
            gib(row.memory_bytes),
            f"{row.images_per_s:,.0f}",
            lasting(row.seconds),
            f"{row.gpu_hours:,.0f}",
            cost,
            short(row.read_bytes_per_s, "B/s"),
        )
    return table


def _network(plan: Plan) -> Table:
    """Every stage with the largest pass that it has room for."""
    named = {each.stage for row in plan.rows for each in row.stages}
    table = _table(
        "over the network: images/s, and the share of the time in which GPUs compute",
        "GPU", ">count", *(f">ZeRO-{stage}" for stage in sorted(named)), "best", ">sends", "binds",
    )  # fmt: skip
    for row in plan.rows:
        best = row.best
        if best is None:
            continue
        found = {each.stage: each for each in row.stages}
        table.add_row(
            row.gpu,
            str(row.count),
            *(_speed(found.get(stage)) for stage in sorted(named)),
            f"ZeRO-{best.stage}",
            short(best.sent_bytes, "B"),
            best.binds,
        )
    return table


def _speed(staged: Staged | None) -> str:
    if staged is None:
        return "-"
    return f"{staged.images_per_s:,.0f} {staged.efficiency:.0%}"


def _table(title: str, *columns: str) -> Table:
    """A table; a column that begins with `>` has its values to the right."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD,
        caption_justify="left",
    )  # fmt: skip
    for column in columns:
        is_right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if is_right else "left")
    return table


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
