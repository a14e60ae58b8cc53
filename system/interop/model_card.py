"""The page that goes with released weights: what they are, how they were measured, how to use them.

Front matter as model hubs read it, then Markdown.
"""

import json
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Pixels
from system.foundation.yaml_tree import dump

LIBRARY = "latent-flows"
UNCONDITIONAL = "unconditional-image-generation"  # the hubs' word; they have none for classes


@dataclass(frozen=True, slots=True)
class Release:
    """All that a card says."""

    recipe: Recipe
    images_seen: int
    parameters: int
    weights_digest: str
    autoencoder_digest: str | None  # None for a flow of pixels
    manifest_digest: str | None  # None where no data are known
    origin: str | None  # the code base that other weights were taken over from
    licence: str | None
    evaluation: "Evaluated | None"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation of the run says, by measurement."""

    images_seen: int
    measurements: Mapping[str, Mapping[str, Any]]


def model_card(release: Release) -> str:
    """README.md of a release."""
    name = release.recipe.run.name
    parts = [
        f"---\n{dump(_front_matter(release))}---",
        f"# {name}",
        _introduction(release),
        "\n".join(_facts(release)),
        "\n".join(_numbers(release)),
        _usage(release),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(release: Release) -> dict[str, Any]:
    licence = {} if release.licence is None else {"license": release.licence}
    kind = "pixel-flow" if isinstance(release.recipe.autoencoder, Pixels) else "latent-flow"
    tags = ["normalizing-flow", "autoregressive-flow", kind, "image-generation"]
    if release.recipe.flow.is_conditional:
        return licence | {"library_name": LIBRARY, "tags": [*tags, "class-conditional"]}
    return licence | {"library_name": LIBRARY, "pipeline_tag": UNCONDITIONAL, "tags": tags}


def _introduction(release: Release) -> str:
    data, flow = release.recipe.data, release.recipe.flow
    classes = f"{data.classes} classes" if flow.is_conditional else "no classes"
    modelled = "pixels" if isinstance(release.recipe.autoencoder, Pixels) else "a latent"
    return (
        f"A normalizing flow of {modelled}: images of {data.image_size} x {data.image_size} x "
        f"{data.image_channels}, {classes}, {release.recipe.tokens} tokens of "
        f"{release.recipe.token_width} numbers, blocks of {list(flow.depths)} layers at width "
        f"{flow.width}, {release.parameters:,} parameters in all."
    )


def _facts(release: Release) -> Iterator[str]:
    recipe = release.recipe
    since = f" since they were taken over from {release.origin}" if release.origin else ""
    rows = {
        "recipe": f"`{recipe.run.name}` (whole in `config.json`)",
        "images seen": f"{release.images_seen:,}{since}",
        "averaging decay": f"{recipe.engine.averaging_decay:g} per update",
        "weights": f"`model.safetensors`, digest `{release.weights_digest}`",
        "autoencoder": "none"
        if release.autoencoder_digest is None
        else f"digest `{release.autoencoder_digest}`",
        "data": "not known"
        if release.manifest_digest is None
        else f"manifest digest `{release.manifest_digest}`",
        "licence": release.licence or "not stated",
    }
    yield "| | |"
    yield "| --- | --- |"
    for name, value in rows.items():
        yield f"| {name} | {value} |"


def _numbers(release: Release) -> Iterator[str]:
    yield "## Numbers"
    yield ""
    evaluated = release.evaluation
    if evaluated is None:
        yield "No evaluation of this run was found when the weights were released."
        return
    if evaluated.images_seen != release.images_seen:
        yield (
            f"Measured at {evaluated.images_seen:,} images seen, not at the "
            f"{release.images_seen:,} of these weights."
        )
        yield ""
    yield "| measurement | value | standard error | protocol |"
    yield "| --- | --- | --- | --- |"
    protocols: dict[str, Any] = {}
    for name, measured in evaluated.measurements.items():
        digest, error = measured["protocol_digest"], measured.get("standard_error")
        protocols[digest] = measured["protocol"]
        spread = "" if error is None else f"{error:.3g}"
        value = f"{measured['value']:.6g}"
        yield f"| {name.removeprefix('evaluation/')} | {value} | {spread} | `{digest[:8]}` |"
    yield ""
    yield "Numbers may be compared where their protocols are equal:"
    yield ""
    for digest, protocol in protocols.items():
        yield f"- `{digest}`: `{json.dumps(protocol, sort_keys=True)}`"


def _usage(release: Release) -> str:
    keys = ["`flow.weights=RELEASE`"]
    if not isinstance(release.recipe.autoencoder, Pixels):
        keys.append("`autoencoder.weights=RELEASE`")
    return f"""## Use

`RELEASE` stands for the path or url of this folder.

```python
from system.evaluation.subject import read_subject

subject = read_subject("RELEASE")
subject.model.flow  # and subject.model.autoencoder
```

```sh
python jobs/sample.py checkpoint=RELEASE out=drawn
python jobs/evaluate.py checkpoint=RELEASE shards=SHARDS out=measured
python jobs/import_weights.py format=hub source=RELEASE out=imported
```

A new run starts from these weights with {" and ".join(keys)}."""
