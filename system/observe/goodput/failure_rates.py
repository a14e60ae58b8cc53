"""How often clusters fail, as published, at any size.

Sources: Kokolis et al. 2024, "Revisiting Reliability in Large-Scale Machine Learning Research
Clusters" (arXiv 2410.21680): a job's mean time to failure is 7.9 h on 1,024 and 1.8 h on 16,384
GPUs. Grattafiori et al. 2024, "The Llama 3 Herd of Models" (arXiv 2407.21783): 419 unexpected
interruptions in 54 days on 16,384 GPUs. Both are quoted here from reports of those papers.
"""

import math
from collections.abc import Callable

HOUR_S = 3600.0
META = ((1024, 7.9), (16384, 1.8))  # GPUs, hours
LLAMA = (16384, 54 * 24 / 419)


def meta_s(gpus: int) -> float:
    """Seconds to failure by the power law through both of Meta's points, -0.53 in the size. That
    is flatter than failures that are independent would make it, so small clusters fare worse."""
    (small, many_h), (large, few_h) = META
    power = math.log(few_h / many_h) / math.log(large / small)
    return HOUR_S * many_h * (gpus / small) ** power


def llama_s(gpus: int) -> float:
    """Seconds to failure where every GPU fails on its own as often as in Llama 3's training."""
    count, hours = LLAMA
    return HOUR_S * hours * count / gpus


RATES: dict[str, Callable[[int], float]] = {"Meta": meta_s, "Llama 3": llama_s}
