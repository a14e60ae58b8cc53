"""What the classifiers of held-out images say of each other, in sentences made from the numbers.

Two shares of the same images are called different where they are further apart than 1.96 standard
errors of independent shares; since the images are the same, that errs on the side of silence.
"""

import math

from system.observe.report.figures import best_probe
from system.observe.report.folder import Z95
from system.observe.report.folder import Number
from system.observe.report.folder import RunFolder
from system.observe.report.numbers import shown


def explanation(run: RunFolder) -> list[str]:
    """Sentences on one-gradient, Bayes, best linear probe and judge, at the newest checkpoint that
    measured the density classifiers; none where it did not."""
    bayes = run.newest("evaluation/bayes_accuracy")
    gradient = run.newest("evaluation/gradient_accuracy")
    if bayes is None or gradient is None:
        return []
    judge, probe = run.newest("evaluation/classifier_accuracy"), best_probe(run, bayes.images_seen)
    told = [_gradient(gradient, bayes)]
    top5 = run.newest("evaluation/gradient_top5_accuracy")
    if top5 is not None:
        told.append(
            f"Among its five first the one-gradient classifier has the class in {shown(top5)}: "
            "more than that it cannot reach by asking the exact likelihood of those five alone."
        )
    if probe is not None:
        told.append(_probe(probe, bayes, run))
    if judge is not None:
        told.append(_judge(judge, bayes))
    return told


def difference(one: Number, other: Number) -> tuple[float, bool]:
    """How many points the first is above the second, and whether that is more than chance."""
    error = math.hypot(_error(one), _error(other))
    apart = one.value - other.value
    return 100 * apart, abs(apart) > Z95 * error


def _error(one: Number) -> float:
    samples = one.protocol.get("samples")
    if not isinstance(samples, int) or samples <= 0:
        return one.standard_error or 0.0
    share = (one.value * samples + Z95**2 / 2) / (samples + Z95**2)  # never without an error
    return math.sqrt(share * (1 - share) / samples)


def _points(points: float) -> str:
    return f"{abs(points):.1f} points {'above' if points >= 0 else 'below'}"


def _gradient(gradient: Number, bayes: Number) -> str:
    points, is_real = difference(gradient, bayes)
    told = (
        f"At {bayes.images_seen:,} images the flow's density, asked for the likelihood of every "
        f"class (the Bayes classifier of a uniform prior), finds {shown(bayes)} of the held-out "
        f"images; asked once, by the gradient at the even mixture of classes, {shown(gradient)}: "
        f"{_points(points)}. "
    )
    if not is_real:
        return told + "The two cannot be told apart on so many images."
    if points > 0:
        return told + (
            "Both read the same density, and the gradient is the first order of what Bayes reads "
            "in full: above it, it profits from the average over more draws or from an error that "
            "happens to help."
        )
    return told + (
        "Both read the same density: the difference is the price of the first order, which leaves "
        "out how far the class vectors reach from their mean, and does not shrink with more "
        "images."
    )


def _probe(probe: Number, bayes: Number, run: RunFolder) -> str:
    points, is_real = difference(probe, bayes)
    way = probe.protocol.get("probe") or {}
    place = f"block {way.get('block', '?')}, layer {way.get('layers', '?')}"
    fresh = run.newest(probe.name.replace("_trained_", "_fresh_"))
    untrained = "" if fresh is None else f", where fresh weights have {shown(fresh)}"
    told = (
        f"The best linear probe ({place}{untrained}; best of those measured on the same held-out "
        f"images, so a little flattered) finds {shown(probe)}, {_points(points)} Bayes. "
    )
    if not is_real:
        return told + "That is within chance."
    if points > 0:
        return told + (
            "The features know more of the class than the conditional density says: a probe is "
            "shown labels, while the likelihood also pays for all that is not the class."
        )
    return told + (
        "The density knows more of the class than a linear map reads from the mean over tokens."
    )


def _judge(judge: Number, bayes: Number) -> str:
    points, is_real = difference(judge, bayes)
    told = (
        f"The judge, a network trained on the labelled pixels themselves, finds {shown(judge)}, "
        f"{_points(points)} Bayes. "
    )
    if not is_real:
        return told + "On so many images the density classifies as well as it."
    if points < 0:
        return told + "The judge is no upper limit here: it was trained for another purpose."
    return told + (
        "That much of the class is lost between pixels and density: in the encoder, in the noise "
        "of its posterior, or in a flow that was trained to model latents and not to tell classes "
        "apart."
    )
