from system.evaluation.protocol import Latents


def test_a_protocol_names_the_data_the_detector_and_the_arithmetic(bench) -> None:
    protocol = bench.protocol("frechet_distance", samples=60, reference="held out")
    assert protocol.reference == "digest: held out"
    assert protocol.detector.digest == bench.detector.digest
    assert protocol.moments_dtype == "float64"
    assert protocol.averaging_decay == bench.subject.recipe.engine.averaging_decay
    assert bench.protocol("mean_psnr", samples=60, reference="held out").moments_dtype is None


def test_densities_are_of_latents_that_no_detector_saw(bench) -> None:
    protocol = bench.density_protocol("bits_per_dim", Latents(draws=3, seed=5))
    assert protocol.detector is None
    assert protocol.rounding is None
    assert protocol.samples == len(bench.held_out.label)
    assert protocol.latents == Latents(draws=3, seed=5)
