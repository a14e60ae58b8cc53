"""Write a run's averaged weights for others: for a model hub, or for another code base, exactly.

    python jobs/export_weights.py checkpoint=runs/digits out=released/digits license=mit
    python jobs/export_weights.py format=autoencoder_kl checkpoint=runs/simflow_256 out=vae
    python jobs/export_weights.py format=ml_tarflow checkpoint=runs/tarflow_64 out=tarflow_64.pth

The hub's folder holds model.safetensors, config.json (the recipe as it was resolved, paths and all:
look at it before you publish) and README.md, a card with the recipe, images seen, averaging decay,
digests of autoencoder and data, and the numbers of the run's evaluation with their protocols. It
can be given wherever a checkpoint can. For ml-tarflow and ml-starflow the arguments of their Model
are printed; a setting that they have no form for is an error. One core, as long as writing takes.
"""

from system.foundation.config import Resolved
from system.interop.requests import Export
from system.interop.requests import export_weights
from system.launch.command import command


def main(resolved: Resolved[Export]) -> None:
    """Write, and say where."""
    print("\n".join(export_weights(resolved.recipe)))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Export)
