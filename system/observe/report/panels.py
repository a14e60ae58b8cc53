"""The charts that a report has, as tables: which numbers stand in which, and how to read them."""

from dataclasses import dataclass

NOISE_LEVELS = ("000", "025", "050", "075", "100")


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart of evaluated numbers: each line's label and metric, and the level beside them."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    note: str = ""
    floor: str | None = None
    is_share: bool = False
    command: str = "python jobs/evaluate.py checkpoint="


DRAWN = (
    Panel(
        "gFID",
        "Fréchet distance, lower is better",
        (("gFID", "evaluation/gfid"), ("without guidance", "evaluation/gfid_unguided")),
        note="Full dots: with this number of samples. Hollow: corrected for the bias of few "
        "samples. Bars: 95 % intervals, of the corrected value where the record states one. "
        "The dashed floor is what real images get with as many samples: compare it with the full "
        "dots.",
        floor="evaluation/gfid_floor",
    ),
    Panel(
        "sFID",
        "Fréchet distance of spatial features",
        (("sFID", "evaluation/sfid"), ("without guidance", "evaluation/sfid_unguided")),
        floor="evaluation/sfid_floor",
    ),
    Panel(
        "precision and recall",
        "",
        (
            ("precision", "evaluation/precision"),
            ("recall", "evaluation/recall"),
            ("coverage", "evaluation/coverage"),
        ),
        note="Precision: drawn images near a real one. Recall: real images near a drawn one.",
        is_share=True,
    ),
    Panel("inception score", "", (("inception score", "evaluation/inception_score"),)),
    Panel("KID", "kernel distance", (("KID", "evaluation/kid"),)),
    Panel("FD-DINOv2", "Fréchet distance", (("FD-DINOv2", "evaluation/fd_dinov2"),)),
    Panel(
        "drawn as asked",
        "judged by the independent classifier",
        (
            ("with guidance", "evaluation/conditional_accuracy"),
            ("without guidance", "evaluation/conditional_accuracy_unguided"),
        ),
        floor="evaluation/classifier_accuracy",
        note="The dashed level is the judge's own accuracy on real images that it never saw.",
        is_share=True,
    ),
    Panel(
        "copies of training images",
        "share of drawn images",
        (
            ("nearer than 99 % of held-out ones", "evaluation/nearest_share"),
            ("near to one alone", "evaluation/nearest_memorised"),
        ),
        note="Nothing copied: 1 % of the first, and as many of the second as of held-out images.",
        is_share=True,
        command="python jobs/nearest_neighbours.py checkpoint=",
    ),
)

RECONSTRUCTED = (
    Panel(
        "rFID",
        "Fréchet distance",
        (("through the mean", "evaluation/rfid"), ("through a draw", "evaluation/rfid_sampled")),
        note="What the encoder keeps, and what generation can reach: its latents have the "
        "posterior's noise in them.",
    ),
    Panel(
        "PSNR",
        "dB, higher is better",
        (
            ("through the mean", "evaluation/psnr_db"),
            ("through a draw", "evaluation/psnr_sampled_db"),
        ),
    ),
    Panel("SSIM", "", (("SSIM", "evaluation/ssim"), ("a draw", "evaluation/ssim_sampled"))),
    Panel("LPIPS", "", (("LPIPS", "evaluation/lpips"), ("a draw", "evaluation/lpips_sampled"))),
)

DENSITY = (
    Panel(
        "code length of held-out images",
        "bits per dimension",
        (
            ("noisy latent", "evaluation/bits_per_dim"),
            ("rate: less the noise", "evaluation/rate_bits_per_dim"),
            ("8-bit pixels", "evaluation/pixel_bits_per_dim"),
        ),
        note="Of latents, not of pixels: a length of the noisy latent, and the rate of the "
        "evidence bound, what the latent tells of its image beside the class.",
    ),
)

CLASSIFIERS = Panel(
    "classes of held-out images",
    "accuracy",
    (
        ("one gradient", "evaluation/gradient_accuracy"),
        ("Bayes, every class asked", "evaluation/bayes_accuracy"),
        ("judge", "evaluation/classifier_accuracy"),
    ),
    note="Bars are 95 % intervals for so many independent images (Wilson).",
    is_share=True,
)

ANALYSIS = "python jobs/analyse_latents.py checkpoint="
LATENTS = (
    *(
        Panel(
            title,
            unit,
            (
                ("of means", f"evaluation/{name}"),
                ("standard definition, means", f"evaluation/standard_{name}"),
                ("standard definition, draws", f"evaluation/standard_{name}_sampled"),
            ),
            command=ANALYSIS,
        )
        for title, unit, name in (
            ("spectral entropy", "1 is white noise", "spectral_entropy"),
            ("high-frequency ratio", "share of power", "high_frequency_ratio"),
            ("total variation", "mean absolute step", "total_variation"),
            ("autocorrelation", "of neighbours", "autocorrelation"),
        )
    ),
    Panel("spread of the means", "", (("spread", "evaluation/latent_std"),), command=ANALYSIS),
)

TRAINING = (
    ("objective", "", ("loss/total",)),
    ("pixel distance", "", ("loss/reconstruction", "loss/perceptual")),
    ("density of the training latents", "nats per dimension", ("loss/nll_nats",)),
    ("adversarial", "", ("loss/adversarial", "loss/critic")),
    ("alignment", "cosine", ("alignment/cosine",)),
    ("latents", "", ("latent/mean_std", "latent/posterior_std")),
    ("gradient norm", "", ("train/gradient_norm",)),
    ("learning rate", "", ("train/learning_rate",)),
    ("throughput", "images per second", ("throughput/images_per_s",)),
    ("time of an update", "s", ("throughput/update_s", "throughput/data_wait_s")),
)
ON_LOG_AXES = ("loss/reconstruction", "train/gradient_norm")
AS_REPORTED = ("latent/mean_std", "latent/posterior_std", "train/learning_rate")  # without noise
