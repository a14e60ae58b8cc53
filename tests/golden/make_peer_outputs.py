"""Record what the peers' own code makes of random flows, as numbers, for tests without that code.

    python -m tests.golden.make_peer_outputs ML_TARFLOW_FOLDER ML_STARFLOW_FOLDER

The folders are checkouts of apple/ml-tarflow and apple/ml-starflow. A few seconds on one core.
"""

import sys

import numpy as np
import torch

from system.interop import ml_starflow
from system.interop import ml_tarflow
from tests.golden.cases import STARFLOWS
from tests.golden.cases import TARFLOWS
from tests.golden.peers import GOLDEN
from tests.golden.peers import starflow_outputs
from tests.golden.peers import tarflow_outputs


def main(tarflow_folder: str, starflow_folder: str) -> None:
    """Ask both about all cases, in float64, and write one file."""
    recorded: dict[str, np.ndarray] = {}
    for case in TARFLOWS:
        arguments = ml_tarflow.model_arguments(case.flow())
        outputs, _ = tarflow_outputs(tarflow_folder, case, arguments, torch.float64)
        recorded |= {f"{case.name}/{name}": value.numpy() for name, value in outputs.items()}
    for case in STARFLOWS:
        arguments = ml_starflow.model_arguments(case.flow())
        outputs, _ = starflow_outputs(starflow_folder, case, arguments, torch.float64)
        recorded |= {f"{case.name}/{name}": value.numpy() for name, value in outputs.items()}
    np.savez_compressed(GOLDEN, **recorded)
    print(f"{GOLDEN}: {len(recorded)} arrays, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
