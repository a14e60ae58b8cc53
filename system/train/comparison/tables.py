"""The tables themselves: train or measure what is missing, and set ours beside the paper's."""

import math
import statistics
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import product

from system.evaluation.measures.smoothness import NOISE_LEVELS
from system.evaluation.measures.smoothness import STATISTICS as MEASURED
from system.evaluation.measures.smoothness import noise_names
from system.foundation import storage
from system.foundation import streams
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import Sampler
from system.train.comparison import published
from system.train.comparison.arms import Arm
from system.train.comparison.arms import alignment_arms
from system.train.comparison.arms import chosen
from system.train.comparison.arms import latent_arms
from system.train.comparison.arms import spread_arm
from system.train.comparison.arms import spread_arms
from system.train.comparison.markdown import Table
from system.train.comparison.markdown import footer
from system.train.comparison.markdown import spread
from system.train.comparison.measured import DRAWN
from system.train.comparison.measured import Values
from system.train.comparison.measured import drawn_by
from system.train.comparison.measured import latents_of
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
RELATIVE = "total variation over standard deviation"
ALIGNED = {
    "evaluation/gfid_unguided": "gFID, no guidance",
    "evaluation/sfid_unguided": "sFID, no guidance",
    "evaluation/gfid": "gFID, guided",
    "evaluation/sfid": "sFID, guided",
    "evaluation/gradient_accuracy": "one-gradient accuracy",
    "evaluation/bayes_accuracy": "Bayes accuracy",
}
CHANGES = {
    "evaluation/gfid_unguided": "change of gFID, no guidance",
    "evaluation/gfid": "change of gFID, guided",
    "evaluation/gradient_accuracy": "change of one-gradient accuracy",
}
STATISTICS = {
    "evaluation/spectral_entropy": "spectral entropy",
    "evaluation/high_frequency_ratio": "high-frequency ratio",
    "evaluation/total_variation": "total variation",
    RELATIVE: RELATIVE,
    "evaluation/autocorrelation": "autocorrelation",
    "evaluation/latent_std": "standard deviation",
}
WHITE_SAMPLES = 256
GUIDED_SPREAD = "0.5"
NO_GUIDANCE = "none"
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)
BLOCKS = {"deep": "deep block", "all": "all blocks"}
FORMULAS = {
    "starflow": {"guidance_rule": "starflow"},
    "linear, scale and shift": {"guidance_rule": "linear", "guidance_parts": "ab"},
    "linear, scale alone": {"guidance_rule": "linear", "guidance_parts": "a"},
    "linear, shift alone": {"guidance_rule": "linear", "guidance_parts": "b"},
    "product": {"guidance_rule": "product"},
}

Filled = tuple[Table, Table, list[Finished]]  # ours, the paper's, and the runs behind ours


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


def spreads_and_routes(request: Comparison) -> Filled:
    """Table (a)."""
    arms = chosen(spread_arms(), request.arms)
    return _qualities("route and spread", arms, QUALITY, published.COMPONENTS, request)


def alignments(request: Comparison) -> Filled:
    """Table (b), with changes against its first row. Raises BadInput without a teacher."""
    if request.teacher is None:
        raise BadInput(
            "table=b without teacher; expected teacher=FILE.yaml, the overlay that "
            "`python jobs/train_teacher.py` wrote beside the weights, for the same data"
        )
    arms = chosen(alignment_arms(request.teacher), request.arms)
    table, beside, runs = _qualities(
        "strategy and place", arms, ALIGNED, published.ALIGNMENT, request
    )
    return _with_changes(table, runs, len(request.seeds)), beside, runs


def guidance_formulas(request: Comparison) -> Filled:
    """Table (c): one trained run per seed, drawn from by every formula; only sampling differs.

    Cells are gFID (and its change against no guidance, seed by seed) / accuracy of drawn images.
    """
    (arm,) = chosen((spread_arm("joint", GUIDED_SPREAD),), request.arms)
    runs = [finished_run(arm, seed, request) for seed in request.seeds]
    ways = samplers()
    drawn = [drawn_by(run, ways) for run in runs]
    head = ("formula and blocks", *(f"weight {weight:g}" for weight in WEIGHTS))
    none = _drawn_cell(drawn, NO_GUIDANCE)
    rows = [(NO_GUIDANCE, *(none if weight == WEIGHTS[0] else "" for weight in WEIGHTS))]
    for title, blocks in product(FORMULAS, BLOCKS):
        names = [way_name(title, blocks, weight) for weight in WEIGHTS]
        rows.append((f"{title}, {BLOCKS[blocks]}", *(_drawn_cell(drawn, name) for name in names)))
    return Table(head, tuple(rows)), published.GUIDANCE, runs


def latent_statistics(request: Comparison) -> Filled:
    """Table (d): of the mean, of autoencoders alone and of those trained with a flow."""
    table, runs = _latents(request, {name: (name,) for name in STATISTICS}, STATISTICS.values())
    white = _white_noise(runs[0])
    return Table(table.head, (*table.rows, white)), published.LATENTS, runs


def noise_on_latents(request: Comparison) -> Filled:
    """Table (e): rFID / PSNR with noise of each level on the posterior's mean."""
    names = {f"noise {level:g}": noise_names(level) for level in NOISE_LEVELS}
    table, runs = _latents(request, names, names)
    return table, published.NOISE, runs


def _latents(
    request: Comparison, columns: Mapping[str, tuple[str, ...]], head: Iterable[str]
) -> tuple[Table, list[Finished]]:
    """A row per arm with latents; in a column, its names' values beside each other."""
    runs, rows = [], []
    for arm in chosen(latent_arms(), request.arms):
        found = [finished_run(arm, seed, request) for seed in request.seeds]
        values = [_with_relative(latents_of(run)) for run in found]
        cells = (
            " / ".join(spread([one[name] for one in values]) for name in names)
            for names in columns.values()
        )
        rows.append((arm.title, *cells))
        runs += found
    return Table(("latents of", *head), tuple(rows)), runs


def _white_noise(run: Finished) -> tuple[str, ...]:
    """What the statistics are for white noise of unit spread and the latents' shape."""
    recipe = run.recipe
    shape = (recipe.latent_channels, recipe.latent_size, recipe.latent_size)
    noise = streams.normal(0, "comparison/white", range(WHITE_SAMPLES), shape)
    values = {
        f"evaluation/{name}": statistic(noise).mean().item() for name, statistic in MEASURED.items()
    }
    values = _with_relative(values | {"evaluation/latent_std": noise.std().item()})
    return ("white noise of the same shape", *(spread([values[name]]) for name in STATISTICS))


def _with_relative(values: Values) -> Values:
    """The values, and the total variation that latents of unit spread would have."""
    relative = values["evaluation/total_variation"] / values["evaluation/latent_std"]
    return values | {RELATIVE: relative}


def samplers() -> dict[str, Sampler]:
    """Every way to draw of table (c), by name."""
    ways = {NO_GUIDANCE: Sampler(guidance=0)}
    for (title, keys), blocks, weight in product(FORMULAS.items(), BLOCKS, WEIGHTS):
        fields = {"guidance": weight, "guidance_blocks": blocks, **keys}
        ways[way_name(title, blocks, weight)] = Sampler.model_validate(fields)
    return ways


def way_name(title: str, blocks: str, weight: float) -> str:
    """What a formula at a weight in some blocks is kept under."""
    return f"{title}, {blocks}, {weight:g}"


def _drawn_cell(drawn: Sequence[Mapping[str, Values]], name: str) -> str:
    """gFID (its change against no guidance, seed by seed) / accuracy; or whose are not finite."""
    values = [one[name] for one in drawn]
    broken = sum(math.isnan(one["evaluation/gfid"]) for one in values)
    if broken:
        return f"not finite ({broken} of {len(values)})"
    gfid, hits = ([one[key] for one in values] for key in DRAWN[::2])
    if name == NO_GUIDANCE:
        return f"{spread(gfid, 2)} / {spread(hits, 2)}"
    none = [one[NO_GUIDANCE]["evaluation/gfid"] for one in drawn]
    change = [after - before for after, before in zip(gfid, none, strict=True)]
    sign = "+" if statistics.fmean(change) > 0 else ""
    mean, accuracy = statistics.fmean(gfid), statistics.fmean(hits)
    return f"{mean:.2f} ({sign}{spread(change, 2)}) / {accuracy:.2f}"


def _qualities(
    corner: str, arms: Sequence[Arm], columns: dict[str, str], beside: Table, request: Comparison
) -> Filled:
    """A row per arm, of numbers that its runs' own evaluations gave."""
    runs, rows = [], []
    for arm in arms:
        found = [finished_run(arm, seed, request) for seed in request.seeds]
        rows.append((arm.title, *(spread([run.values[name] for run in found]) for name in columns)))
        runs += found
    return Table((corner, *columns.values()), tuple(rows)), beside, runs


def _with_changes(table: Table, runs: Sequence[Finished], seeds: int) -> Table:
    """The table with the changes of some numbers against its first row, seed by seed.

    Runs of one seed start from the same weights and see the same images, so much of what differs
    between seeds is not in these.
    """
    columns = [[run.values for run in runs[place::seeds]] for place in range(seeds)]
    rows = []
    for number, row in enumerate(table.rows):
        changes = (
            spread([column[number][name] - column[0][name] for column in columns])
            for name in CHANGES
        )
        rows.append((*row, *changes))
    return Table((*table.head, *CHANGES.values()), tuple(rows))


def _word(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


TABLES: dict[str, Callable[[Comparison], Filled]] = {
    "a": spreads_and_routes,
    "b": alignments,
    "c": guidance_formulas,
    "d": latent_statistics,
    "e": noise_on_latents,
}
