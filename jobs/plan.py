"""Say what a recipe needs before it is launched: operations, memory, time, money, storage.

    python jobs/plan.py configs/simflow_256.yaml
    python jobs/plan.py configs/simflow_256.yaml cluster.workers=8 plan.gpus=[H200-141GB]
    python jobs/plan.py configs/simflow_256.yaml plan.images_per_gpu=16 plan.counts=[8,512,4096]
    python jobs/plan.py --check

Every recipe's own program does the same with `--plan`. The real code of a pass runs on shapes
alone, so nothing is needed but the recipe: no GPU, no weights, no data. What an update sends, and
what of the time that takes, is predicted for every stage of ZeRO. Prices, peaks and links come from
configs/plan/gpus.yaml. `plan.json_file=FILE` writes it as JSON too. `--check` compares the plan of
the digits with a real update on this machine, in rows like those of jobs/benchmark.py. One core,
half a minute. docs/planning.md explains every number.
"""

import sys
from pathlib import Path

from system.launch.command import answered
from system.launch.command import print_page

CHECK = "--check"


def main(arguments: list[str]) -> int:
    """Print the plan, or its check."""
    if CHECK in arguments:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # suites are not installed
        from tests.benchmarks.command import main as benchmark

        return benchmark(__doc__, ["plan", *(each for each in arguments if each != CHECK)])
    from system.launch.plan.answer import print_plan
    from system.launch.plan.request import help_page

    if not arguments or {"-h", "--help"} & set(arguments):
        print_page(help_page(__doc__))
        return 0
    return print_plan(None, arguments)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
