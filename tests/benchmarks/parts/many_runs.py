"""A root with many long runs, as their ledgers would be: for readers that must not be slow."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

BEGIN = 1.8e9
SOME = "some-run"  # stands for a run's name in reports, which are the same of all but for that
REPORT_S = 30.0
EVALUATIONS = 20
EVERY = 1280


def write_runs(root: str, runs: int, reports: int) -> int:
    """Write so many runs of so many reports each; the bytes of their ledgers."""
    told = [_report(SOME, place, EVERY) for place in range(1, reports + 1)]
    return sum(_write_run(Path(root) / f"run-{n:03d}", n, told) for n in range(runs))


def _write_run(folder: Path, number: int, reports: Sequence[str]) -> int:
    (folder / "ledger").mkdir(parents=True)
    total = EVERY * len(reports) * 2
    (folder / "recipe.yaml").write_text(
        f"run:\n  name: {folder.name}\n  seed: {number}\n  total_images: {total}\n"
    )
    (folder / "provenance.json").write_text(
        json.dumps({"starts": [{"arguments": ["jobs/simflow_digits.py"], "recipe_digest": "a1"}]})
    )
    lines = [_line(folder.name, "attempt_started", 0, 0.0, workers=8)]
    for place, report in enumerate(reports, 1):
        lines.append(report)
        if place % (len(reports) // EVALUATIONS) == 0:
            lines.append(_evaluation(folder.name, place, EVERY, number))
    text = "".join(lines).replace(SOME, folder.name)
    (folder / "ledger" / "worker-0.jsonl").write_text(text)
    return len(text)


def _line(run: str, kind: str, images: int, at: float, **fields: object) -> str:
    event = {"time": BEGIN + at, "kind": kind, "run": run, "attempt": 1, "images_seen": images}
    return json.dumps(event | fields) + "\n"


def _report(run: str, place: int, every: int) -> str:
    wave = math.sin(place / 40) / 10
    values = {
        "loss/total": 4 / (1 + place / 50) + wave,
        "loss/reconstruction": 0.4 / (1 + place / 20) + wave / 100 + 0.01,
        "loss/nll_nats": 1 + 1 / (1 + place / 90),
        "train/gradient_norm": 1 + wave,
        "train/learning_rate": 1e-3,
        "latent/mean_std": 1 + wave,
        "latent/posterior_std": 0.5,
        "throughput/images_per_s": 3000 + 900 * wave,
        "throughput/update_s": 0.2,
        "throughput/data_wait_s": 0.001,
        "throughput/checkpoint_s": 0.0,
    }
    return _line(run, "report", place * every, place * REPORT_S, values=values)


def _evaluation(run: str, place: int, every: int, number: int) -> str:
    gfid = 2 + number / 100 + 30 / (1 + place / 60)
    values = {"evaluation/gfid": gfid, "evaluation/gfid_standard_error": 0.1}
    return _line(run, "evaluation", place * every, place * REPORT_S + 1, values=values)
