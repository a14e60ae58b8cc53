"""What a job may take: GPU-hours are promised before a job starts, and never more than there are.

A job is started only where the time that it is expected to need, with some to spare, is left beside
what is spent and what is promised to the jobs that run. It pauses by itself when its time is up, so
the limit holds also where no controller is alive to see to it.
"""

from dataclasses import dataclass
from statistics import median

from system.campaign.standing import Standing

# A job may take so many times what the ones before took per image.
SLACK = 1.5


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a job is granted; no number where the campaign has no limit."""

    seconds: float | None


def allowance(standing: Standing, images: int) -> Allowance | None:
    """What a job of so many images may take; None where that is not there now.

    Until the pace is known the first job gets all there is, and runs alone.
    """
    limit = standing.campaign.gpu_seconds
    if limit is None:
        return Allowance(None)
    assert standing.began is not None
    gpus, grace_s = standing.began.gpus_per_job, standing.campaign.limits.grace_s
    left = (limit - spent_s(standing) - promised_s(standing)) / gpus - grace_s
    needed = expected_s(standing, images)
    if needed is None:
        is_alone = not standing.open_jobs and left > 0
        return Allowance(left) if is_alone else None
    seconds = max(SLACK * needed, needed + grace_s)  # a start alone may take much longer
    return Allowance(seconds) if seconds <= left else None


def expected_s(standing: Standing, images: int) -> float | None:
    """Seconds that so many images take with a job's start and end; None where nothing is known."""
    pace = seconds_per_image(standing)
    return None if pace is None else pace * max(images, 1)


def seconds_per_image(standing: Standing) -> float | None:
    """Of jobs that have ended, with their starts; as the campaign says until there are any."""
    found = [
        job.ended.seconds / (job.ended.images_seen - job.began_at)
        for job in standing.jobs.values()
        if job.ended is not None and job.ended.images_seen > job.began_at
    ]
    if found:
        return median(found)
    told = standing.campaign.limits.images_per_s
    return None if told is None else 1 / told


def spent_s(standing: Standing) -> float:
    """GPU-seconds of the jobs that have ended."""
    assert standing.began is not None
    ended = [job.ended.seconds for job in standing.jobs.values() if job.ended is not None]
    return sum(ended) * standing.began.gpus_per_job


def promised_s(standing: Standing) -> float:
    """GPU-seconds that the jobs which run may still come to, with the time to save and end."""
    assert standing.began is not None
    grace_s = standing.campaign.limits.grace_s
    return standing.began.gpus_per_job * sum(
        (job.allowed_s or 0.0) + grace_s for job in standing.open_jobs
    )


def is_spent(standing: Standing) -> bool:
    """Whether nothing is left of the budget, whoever runs."""
    limit = standing.campaign.gpu_seconds
    return limit is not None and spent_s(standing) >= limit
