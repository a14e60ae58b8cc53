"""What a FID costs: features of Inception, moments as they stream by, distances, intervals."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.child import in_child
from tests.benchmarks.parts.inception import looking
from tests.benchmarks.parts.moments import distances
from tests.benchmarks.parts.moments import estimate_seconds
from tests.benchmarks.parts.moments import stream
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most
from tests.benchmarks.rows import median_row

GIGA = 1e9
CORES = 2


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    images: int = 32  # through Inception in a round
    features: int = 50_000
    width: int = 2048
    rounds: int = 3
    estimated: int = 10_000


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about ten minutes on two cores."""
    seen = in_child(looking, scale.images, 256, scale.rounds, cores=CORES)
    rates = [seen.images / each for each in seen.seconds]
    yield median_row("Inception's features of 256x256", rates, "images/s")
    yield Row("operations of an image", seen.flops / seen.images / GIGA, "GFLOP")
    yield Row("product of matrices in float32, at most", seen.ceiling / GIGA, "GFLOP/s")
    shares = [100 * seen.flops / each / seen.ceiling for each in seen.seconds]
    yield median_row("features: of the product of matrices (MFU)", shares, "%")
    streamed = in_child(stream, scale.features, scale.width, scale.rounds, CORES, cores=CORES)
    what = f"{scale.features:,} x {scale.width}"
    yield Row("float64 product of blocks", streamed.product / GIGA, "GFLOP/s")
    yield Row(f"moments of {what}, streamed", streamed.moments / GIGA, "GFLOP/s")
    share = 100 * streamed.moments / streamed.product
    yield Row("moments / product", share, "%", at_least(70))
    peak = streamed.bytes_peak / GIGA
    yield Row("memory of the whole process at its most", peak, "GB", at_most(1))
    yield Row("of which before", streamed.bytes_before / GIGA, "GB")
    found = in_child(distances, scale.width, scale.rounds, CORES, cores=CORES)
    yield Row("distance by SciPy's sqrtm", found.sqrtm, "s")
    yield Row("distance, reference factored before", found.cached, "s", at_most(15))
    yield Row("distance, factor and all", found.uncached, "s", at_most(15))
    ratio = found.sqrtm / found.cached
    yield Row("sqrtm / distance, reference factored before", ratio, "x", at_least(4))
    yield Row("sqrtm / distance, factor and all", found.sqrtm / found.uncached, "x")
    yield Row("relative difference of the two results", found.difference, "", at_most(1e-8))
    took = in_child(estimate_seconds, scale.estimated, scale.width, CORES, cores=CORES)
    what = f"{scale.estimated:,} x {scale.width}"
    yield Row(f"corrected distance with interval, {what}", took, "s")
