"""The arms of a comparison: what each changes in the one recipe that all of them share.

An arm is named after what it changes, and its runs after the arm and the seed; so tables that need
the same run share it.

Source: SimFlow, arXiv 2512.04084, figure 5 and its table of components; R-REPA, arXiv 2511.22345,
its table of layers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from fnmatch import fnmatchcase

from system.foundation.errors import BadInput
from system.train.comparison.request import CONFIGS

SPREADS = ("learned", "0.1", "0.3", "0.5", "0.7", "1.0")
ADDED_NOISE = ("0.3", "0.5")  # on latents of unit variance; STARFlow's is 0.3
SLIGHT_PULL = 1e-3  # of the prior on an autoencoder trained alone, as in latent diffusion
ROUTES = {
    "frozen": "frozen autoencoder",
    "frozen_encoder": "frozen encoder, decoder trained on",
    "joint": "end to end",
}

ALIGNED_SPREAD = "0.5"
PLACES = {
    "early": ("early block (data side)", "[[0,1]]"),
    "late": ("late block (noise side)", "[[-1,2]]"),
}
STRATEGIES = {
    "forward": ("forward", ("strategy=forward",)),
    "detach": ("detach", ("strategy=detach",)),
    "reverse": ("reverse, straight through", ("strategy=reverse", "reverse=straight_through")),
    "reverse_paper": ("reverse, as printed", ("strategy=reverse", "reverse=paper")),
}


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of a table: a variant of the recipe, and the arm its autoencoder comes from."""

    name: str
    title: str
    overrides: tuple[str, ...]  # overlays and `key.path=value`
    pretrained: "Arm | None" = None


def autoencoder_arm(spread: str) -> Arm:
    """An autoencoder by itself, with this spread of its posterior."""
    return Arm(
        f"autoencoder-{spread}",
        f"autoencoder alone, spread {spread}",
        (
            *_posterior(spread),
            "objective.route=autoencoder_only",
            f"objective.likelihood.weight={SLIGHT_PULL}",
        ),
    )


def spread_arm(route: str, spread: str) -> Arm:
    """A flow and an autoencoder of this spread, joined by a route; all at equal images."""
    return Arm(
        f"{route}-{spread}",
        f"{ROUTES[route]}, spread {spread}",
        (*_posterior(spread), f"objective.route={route}"),
        None if route == "joint" else autoencoder_arm(spread),
    )


def added_noise_arm(noise: str) -> Arm:
    """STARFlow's way: a frozen encoder of learned spread, noise on its latents, and the decoder
    trained on to see through it."""
    before = spread_arm("frozen_encoder", "learned")
    return replace(
        before,
        name=f"added_noise-{noise}",
        title=f"{ROUTES['frozen_encoder']}, spread learned, noise {noise} added",
        overrides=(*before.overrides, f"autoencoder.posterior.added_noise={noise}"),
    )


def spread_arms() -> tuple[Arm, ...]:
    """Table (a): every route with every spread, and STARFlow's added noise."""
    crossed = tuple(spread_arm(route, spread) for route in ROUTES for spread in SPREADS)
    return crossed + tuple(added_noise_arm(noise) for noise in ADDED_NOISE)


def latent_arms() -> tuple[Arm, ...]:
    """Tables (d) and (e): the latents of autoencoders alone, and of those trained with a flow."""
    alone = tuple(autoencoder_arm(spread) for spread in SPREADS)
    return alone + tuple(spread_arm("joint", spread) for spread in SPREADS)


def alignment_arms(teacher: str) -> tuple[Arm, ...]:
    """Table (b): a flow on frozen latents, aligned by every strategy in an early or a late block.

    `teacher` is the overlay that names its weights. The arm without alignment is one of table (a).
    """
    none = spread_arm("frozen", ALIGNED_SPREAD)
    return (
        replace(none, title="none"),
        *(
            replace(
                none,
                name=f"{name}-{place}",
                title=f"{title}, {PLACES[place][0]}",
                overrides=(
                    str(CONFIGS / "comparison" / "aligned.yaml"),
                    teacher,
                    *none.overrides,
                    f"objective.alignment.places={PLACES[place][1]}",
                    *(f"objective.alignment.{key}" for key in keys),
                ),
            )
            for place in PLACES
            for name, (title, keys) in STRATEGIES.items()
        ),
    )


def chosen(arms: Iterable[Arm], patterns: Iterable[str]) -> tuple[Arm, ...]:
    """The arms whose names match any of the patterns. Raises BadInput where none does."""
    arms, patterns = tuple(arms), tuple(patterns)
    found = tuple(arm for arm in arms if any(fnmatchcase(arm.name, one) for one in patterns))
    if not found:
        raise BadInput(
            f"arms={','.join(patterns)}: no arm of this table bears such a name; expected some of "
            f"{', '.join(arm.name for arm in arms)} (* stands for any letters)"
        )
    return found


def _posterior(spread: str) -> tuple[str, ...]:
    if spread == "learned":
        return ("autoencoder.posterior.kind=learned",)
    return ("autoencoder.posterior.kind=fixed", f"autoencoder.posterior.std={spread}")
