"""What tables ask of finished runs beyond their own evaluations; kept beside them, made once."""

import json
import math
from collections.abc import Mapping
from typing import Any

from system.evaluation.analysis import analyse
from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.measures.digits import prepare
from system.evaluation.measures.generation import cut_halves
from system.evaluation.measures.generation import drawn_quality
from system.evaluation.studio import Studio
from system.evaluation.studio import units_folder
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.foundation import storage
from system.foundation.errors import NumericsError
from system.foundation.settings.evaluation import Sampler
from system.train.comparison.runs import Finished

Values = dict[str, float]
DRAWN = ("evaluation/gfid", "evaluation/sfid", "evaluation/conditional_accuracy")


def latents_of(run: Finished) -> Values:
    """Statistics of a run's latents and its reconstructions under noise, by name."""
    for name in storage.list_names(storage.join(run.folder, "eval")):
        if name.endswith("-latents.json"):
            content = json.loads(storage.read_text(storage.join(run.folder, "eval", name)))
            return {key: one["value"] for key, one in content["measurements"].items()}
    return analyse(find_checkpoint(run.folder), run.recipe, output=run.folder)


def drawn_by(run: Finished, samplers: Mapping[str, Sampler]) -> dict[str, Values]:
    """gFID, sFID and accuracy of what a run draws by each of some samplers.

    The noise and the labels are the same for all of them. Values are NaN where a sampler draws
    images that are not finite.
    """
    place = storage.join(run.folder, "eval", "drawn.json")
    kept: dict[str, Any] = json.loads(storage.read_text(place)) if storage.exists(place) else {}
    asked = {name: sampler.model_dump(mode="json") for name, sampler in samplers.items()}
    missing = [name for name in asked if kept.get(name, {}).get("sampler") != asked[name]]
    if missing:
        drawn = _draw(run, {name: samplers[name] for name in missing})
        kept |= {name: {"sampler": asked[name], "values": drawn[name]} for name in missing}
        storage.write_bytes(place, (json.dumps(kept, indent=1) + "\n").encode())
    return {name: kept[name]["values"] for name in asked}


def _draw(run: Finished, samplers: Mapping[str, Sampler]) -> dict[str, Values]:
    with exact_arithmetic(threads=1):
        checkpoint = find_checkpoint(run.folder)
        studio = Studio(AloneCrew(), units_folder(run.folder))
        bench = prepare(
            read_subject(checkpoint), run.recipe, run.folder, checkpoint=checkpoint, studio=studio
        )
        cut = cut_halves(bench)
        drawn = {}
        for name, sampler in samplers.items():
            try:
                measured = drawn_quality(bench, cut, sampler)
                drawn[name] = {one.name: one.value for one in measured}
            except NumericsError:
                drawn[name] = dict.fromkeys(DRAWN, math.nan)
    return drawn
