"""Every metric of the system, by name, unit and meaning: what is not listed here cannot be written.

A name is `area/quantity_unit`; a number without a unit has no suffix. Losses are means over the
images of a report; evaluation numbers belong to one checkpoint and one protocol. `metric` says what
a row holds, `exported_metrics` has the rows of whole runs and campaigns.
"""

from collections.abc import Iterable

from system.telemetry.exported_metrics import EXPORTED
from system.telemetry.metric import UNCERTAINTY
from system.telemetry.metric import Metric

_METRICS = (
    Metric("loss/total", "", "the objective: what the gradient is taken of", "lower"),
    Metric("loss/reconstruction", "", "pixel distance, unweighted", "lower"),
    Metric("loss/perceptual", "", "LPIPS between decoded and original, unweighted", "lower"),
    Metric("loss/penalty", "", "mean square of the blocks' inputs, summed over blocks", "lower"),
    Metric("loss/adversarial", "", "the generator's share of the adversarial loss", "lower"),
    Metric("loss/alignment", "", "minus the cosine of features and teacher's tokens", "lower"),
    Metric("loss/critic", "", "hinge loss of the discriminator", "lower"),
    Metric("loss/nll_nats", "nats", "negative log-likelihood per latent dimension", "lower"),
    Metric("loss/entropy_nats", "nats", "entropy of the posterior per latent dimension"),
    Metric("latent/mean_std", "", "standard deviation of the posterior means"),
    Metric("latent/batch_std", "", "spread of the posterior means over the images of a pass"),
    Metric("latent/posterior_std", "", "mean spread of the posterior"),
    Metric("latent/signal_to_noise", "", "spread of the means over spread of the posterior"),
    Metric("alignment/cosine", "", "mean cosine of features and teacher's tokens", "higher"),
    Metric("train/learning_rate", "", "learning rate of the update"),
    Metric("train/gradient_norm", "", "global norm of the gradient before clipping"),
    Metric("train/encoder_gradient", "", "gradient norm of the encoder's first weights in a pass"),
    Metric("train/decoder_gradient", "", "the same of the decoder"),
    Metric("train/flow_gradient", "", "the same of the flow"),
    Metric("train/averaging_decay", "", "decay of the averaged weights at this update"),
    Metric("train/updates", "count", "updates done"),
    Metric(
        "train/skipped_updates", "count", "updates skipped for values that are not finite", "lower"
    ),
    Metric(
        "train/bad_samples", "count", "samples left out because they could not be read", "lower"
    ),
    Metric(
        "throughput/images_per_s", "images/s", "training images per second, all workers", "higher"
    ),
    Metric(
        "throughput/mfu_share", "fraction", "of the GPUs' peak, by the model's passes", "higher"
    ),
    Metric("throughput/update_s", "s", "wall time of an update", "lower"),
    Metric("throughput/data_wait_s", "s", "time of an update spent waiting for data", "lower"),
    Metric("throughput/straggler_ratio", "", "own time of the slowest worker to the rest", "lower"),
    Metric("throughput/slowest_rank", "", "which worker that is"),
    Metric("throughput/checkpoint_s", "s", "time the loop stood still for a checkpoint", "lower"),
    Metric("goodput/share", "fraction", "wall time that new images were trained on", "higher"),
    Metric("goodput/share_while_driven", "fraction", "the same of time with a driver", "higher"),
    Metric("goodput/wall_s", "s", "from the start of the run's first process until now"),
    Metric("goodput/productive_s", "s", "updates on images that were not seen before", "higher"),
    Metric("goodput/replayed_s", "s", "updates on images that a lost attempt had seen", "lower"),
    Metric("goodput/checkpoint_s", "s", "the loop stood still for a checkpoint", "lower"),
    Metric("goodput/data_wait_s", "s", "the loop waited for data", "lower"),
    Metric("goodput/evaluation_s", "s", "the run waited for evaluations at its end", "lower"),
    Metric("goodput/start_up_s", "s", "processes, imports, restore and first updates", "lower"),
    Metric("goodput/detection_s", "s", "from last signs of life to the next process", "lower"),
    Metric("goodput/idle_s", "s", "between the lives of drivers", "lower"),
    Metric("throughput/peak_memory_bytes", "bytes", "peak device memory of a worker", "lower"),
    Metric("evaluation/gfid", "", "Fréchet distance of drawn to real images", "lower"),
    Metric("evaluation/gfid_unguided", "", "the same, drawn without guidance", "lower"),
    Metric("evaluation/gfid_floor", "", "the same distance between two disjoint real halves"),
    Metric("evaluation/gfid_ratio", "", "gFID over its floor", "lower"),
    Metric("evaluation/gfid_ratio_unguided", "", "the same, drawn without guidance", "lower"),
    Metric("evaluation/gfid_difference", "", "its paired difference to a sweep's best", "lower"),
    Metric("evaluation/sfid", "", "Fréchet distance of drawn to real, spatial features", "lower"),
    Metric("evaluation/sfid_unguided", "", "the same, drawn without guidance", "lower"),
    Metric("evaluation/sfid_floor", "", "the same distance between two disjoint real halves"),
    Metric(
        "evaluation/conditional_accuracy",
        "fraction",
        "drawn images that an independent classifier gives the label they were drawn for",
        "higher",
    ),
    Metric(
        "evaluation/conditional_accuracy_unguided",
        "fraction",
        "the same, drawn without guidance",
        "higher",
    ),
    Metric(
        "evaluation/classifier_accuracy",
        "fraction",
        "held-out real images that the independent classifier gets right",
    ),
    Metric("evaluation/inception_score", "", "Inception Score of drawn images", "higher"),
    Metric("evaluation/kid", "", "kernel distance of drawn to real images", "lower"),
    Metric("evaluation/fd_dinov2", "", "Fréchet distance in DINOv2's features", "lower"),
    Metric("evaluation/fd_dinov2_difference", "", "the same to a sweep's best", "lower"),
    Metric("evaluation/precision", "fraction", "drawn images near a real one", "higher"),
    Metric("evaluation/recall", "fraction", "real images near a drawn one", "higher"),
    Metric("evaluation/kid_unguided", "", "kernel distance, drawn without guidance", "lower"),
    Metric("evaluation/precision_unguided", "fraction", "the same without guidance", "higher"),
    Metric("evaluation/recall_unguided", "fraction", "the same without guidance", "higher"),
    Metric("evaluation/density", "", "drawn images in a real one's neighbourhood", "higher"),
    Metric("evaluation/coverage", "fraction", "real images with a drawn neighbour", "higher"),
    Metric("evaluation/rfid", "", "Fréchet distance of reconstructions to originals", "lower"),
    Metric("evaluation/rfid_sampled", "", "the same, through a draw of the posterior", "lower"),
    Metric("evaluation/psnr_db", "dB", "peak signal-to-noise ratio of reconstructions", "higher"),
    Metric("evaluation/psnr_sampled_db", "dB", "the same, through a draw", "higher"),
    Metric("evaluation/ssim", "", "structural similarity of reconstructions, at most 1", "higher"),
    Metric("evaluation/ssim_sampled", "", "the same, through a draw", "higher"),
    Metric("evaluation/lpips", "", "perceptual distance of reconstructions", "lower"),
    Metric("evaluation/lpips_sampled", "", "the same, through a draw", "lower"),
    Metric(
        "evaluation/bayes_accuracy",
        "fraction",
        "held-out images classified right by the exact likelihood of every class",
        "higher",
    ),
    Metric(
        "evaluation/bayes_top5_accuracy",
        "fraction",
        "held-out images whose class is among the five of the largest likelihood",
        "higher",
    ),
    Metric(
        "evaluation/gradient_accuracy",
        "fraction",
        "held-out images classified right by the one-gradient density classifier",
        "higher",
    ),
    Metric(
        "evaluation/gradient_top5_accuracy",
        "fraction",
        "held-out images whose class is among the classifier's five first",
        "higher",
    ),
    Metric("evaluation/bits_per_dim", "bits", "held-out bits per latent dimension", "lower"),
    Metric(
        "evaluation/rate_bits_per_dim",
        "bits",
        "the same less the posterior's entropy: what the latent says about the image",
    ),
    Metric(
        "evaluation/pixel_bits_per_dim",
        "bits",
        "bound on held-out bits per 8-bit channel value, of a flow on pixels",
        "lower",
    ),
    Metric(
        "evaluation/nearest_share",
        "fraction",
        "drawn images nearer to a training image than 99 % of held-out ones are",
        "lower",
    ),
    Metric(
        "evaluation/nearest_auc",
        "",
        "chance that a drawn image is nearer to the training images than a held-out one",
    ),
    Metric(
        "evaluation/nearest_ks",
        "",
        "Kolmogorov-Smirnov distance of drawn and held-out distances to the training images",
    ),
    Metric(
        "evaluation/nearest_memorised",
        "fraction",
        "drawn images three times nearer to one training image than to any other",
        "lower",
    ),
    Metric(
        "evaluation/nearest_memorised_held_out",
        "fraction",
        "the same share of held-out images",
    ),
    Metric("evaluation/spectral_entropy", "", "of held-out latents' means; 1 is white noise"),
    Metric("evaluation/high_frequency_ratio", "", "share of power outside the Nyquist circle"),
    Metric("evaluation/total_variation", "", "mean absolute difference of neighbouring cells"),
    Metric("evaluation/autocorrelation", "", "correlation of neighbouring cells"),
    Metric("evaluation/latent_std", "", "standard deviation of held-out latents' means"),
    *(
        Metric(f"evaluation/standard_{name}{suffix}", "", f"{meaning}, of {latents}")
        for suffix, latents in (("", "means"), ("_sampled", "draws"))
        for name, meaning in (
            ("spectral_entropy", "entropy of a channel's power; 1 is flat"),
            ("high_frequency_ratio", "share of power beyond 0.25 cycles per cell"),
            ("high_frequency_ratio_box", "the same along either axis"),
            ("total_variation", "mean difference of neighbours, unit variance"),
            ("autocorrelation", "mean product of neighbours, unit variance"),
        )
    ),
    *(
        metric
        for percent in ("000", "025", "050", "075", "100")
        for metric in (
            Metric(
                f"evaluation/rfid_noise_{percent}",
                "",
                f"rFID with noise of {int(percent) / 100:g} added to the latent's mean",
                "lower",
            ),
            Metric(
                f"evaluation/psnr_noise_{percent}_db",
                "dB",
                f"PSNR with noise of {int(percent) / 100:g} added to the latent's mean",
                "higher",
            ),
        )
    ),
    Metric("evaluation/seconds_s", "s", "wall time of the evaluation", "lower"),
    Metric("report/images_seen", "count", "images trained on, as of the newest report"),
    Metric("evaluation/images_seen", "count", "images that the evaluated checkpoint has seen"),
    *EXPORTED,
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
assert len(METRICS) == len(_METRICS), "two rows of the registry have one name"


def unregistered(names: Iterable[str]) -> list[str]:
    """The names that no metric bears, sorted. The uncertainty of a metric is registered with it."""
    return sorted(name for name in names if name.removesuffix(UNCERTAINTY) not in METRICS)
