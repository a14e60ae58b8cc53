"""A run's folder as training and evaluation leave it, in small."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from system.observe.report.folder import Number
from system.telemetry.ledger import Ledger


def picture(side: int = 4, rows: int = 3, shade: int = 200) -> bytes:
    """A grid of ten columns, every row of another grey."""
    grid = Image.new("L", (10 * side, rows * side))
    for row in range(rows):
        grid.paste(shade - 20 * row, (0, row * side, 10 * side, (row + 1) * side))
    content = io.BytesIO()
    grid.save(content, "png")
    return content.getvalue()


def measured(value: float, digest: str = "a" * 32, **more: Any) -> dict[str, Any]:
    protocol = {"preset": "digits", "metric": "frechet_distance", "samples": 400}
    return {"value": value, "protocol": protocol, "protocol_digest": digest, **more}


def number(name: str, value: float, seen: int = 2000, **more: Any) -> Number:
    protocol = more.pop("protocol", {"samples": 400})
    return Number(f"evaluation/{name}", value, seen, "eval/x.json", protocol, "a" * 32, **more)


@pytest.fixture
def run_url(tmp_path) -> str:
    """Two checkpoints evaluated, one restart, one dropped evaluation, two grids."""
    run = tmp_path / "a run"
    for seen, gfid in ((1000, 9.0), (2000, 3.25)):
        numbers = {
            "evaluation/gfid": measured(gfid, standard_error=0.5, corrected=gfid - 1),
            "evaluation/gfid_floor": measured(0.75, "b" * 32),
            "evaluation/bayes_accuracy": measured(0.9, "c" * 32),
            "evaluation/gradient_accuracy": measured(0.7, "d" * 32),
        }
        write(run / "eval" / f"{seen:012d}-digits.json", seen, numbers)
        place = run / "samples" / f"{seen:012d}.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(picture(shade=100 + seen // 20))
    (run / "recipe.yaml").write_text("run:\n  name: a <run>\n")
    (run / "provenance.json").write_text(json.dumps({"starts": [{"commit": "abc123"}]}))
    with Ledger(str(run), "driver", run="r", attempt=1) as ledger:
        ledger.write("attempt_started", images_seen=0)
        ledger.write("report", images_seen=500, values={"loss/total": 2.0})
        ledger.write("report", images_seen=1000, values={"loss/total": 1.0})
        ledger.write("evaluation_dropped", images_seen=1500, reason="<b>two</b> were waiting")
        ledger.write("run_finished", images_seen=2000, seconds=75.0)
    return str(run)


def write(path: Path, seen: int, numbers: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images_seen": seen, "measurements": numbers}))


@pytest.fixture
def evaluated(run_url) -> Callable[..., None]:
    """Writes one more record of measurements into the run."""

    def add(name: str, seen: int, numbers: dict[str, Any]) -> None:
        write(Path(run_url) / "eval" / name, seen, numbers)

    return add
