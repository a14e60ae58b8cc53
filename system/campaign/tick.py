"""One turn of a campaign: look, decide, carry out. May be called at any time, by anybody, twice.

    tick(CampaignLedger("runs", "digits_spread"), RayCluster(address), now=time.time())

What was decided is carried out by whoever comes next, so a controller may die anywhere: a job that
was to be submitted and is not known to the cluster is submitted, a pause that was to be asked for
is asked for. All of it may be done twice without harm.
"""

import logging
import time
from collections.abc import Callable

from system.campaign.board import leaderboard
from system.campaign.cluster import Cluster
from system.campaign.decisions import next_decision
from system.campaign.ledger import Began
from system.campaign.ledger import CampaignLedger
from system.campaign.ledger import Event
from system.campaign.ledger import Observed
from system.campaign.observation import gpus_per_job
from system.campaign.observation import job_arguments
from system.campaign.observation import observe
from system.campaign.observation import run_url
from system.campaign.settings import Campaign
from system.campaign.standing import Job
from system.campaign.standing import Standing
from system.campaign.trial import shared_arguments
from system.campaign.trial import trial_recipe
from system.foundation.config import recipe_digest
from system.foundation.errors import BadInput
from system.foundation.errors import ClusterError
from system.foundation.errors import RecipeError
from system.foundation.errors import StorageError
from system.foundation.recipe import Recipe
from system.launch.pausing import ask_to_pause
from system.launch.pausing import job_variables
from system.observe.leaderboard import write

PATIENCE_S = 1800.0  # with a cluster or a store that has answered and does no more

log = logging.getLogger(__name__)


def begin(campaign: Campaign, ledger: CampaignLedger, cluster: Cluster, now: float) -> None:
    """Write the campaign down as begun, unless it is. Raises RecipeError where another of its name
    was begun, or its recipe is not what it was."""
    recipe = shared_recipe(campaign)
    began = Began(
        time=now,
        campaign=campaign.model_dump(mode="json", include=set(Campaign.model_fields)),
        digest=campaign.digest,
        recipe=recipe_digest(recipe),
        gpus_per_job=gpus_per_job(recipe, cluster.resources()),
    )
    if not ledger.read() and ledger.append(began):
        return
    check_same(campaign, Standing(ledger.read()))


def amend(campaign: Campaign, ledger: CampaignLedger, now: float) -> list[str]:
    """Take over what the file says of limits, schedule, retries and price. Names what changed."""
    standing = Standing(ledger.read())
    check_same(campaign, standing)
    assert standing.began is not None, "checked just now"
    told = campaign.model_dump(mode="json", include=set(Campaign.model_fields))
    changed = sorted(key for key in told if told[key] != standing.began.campaign.get(key))
    if changed:
        wish(ledger, standing.began.model_copy(update={"time": now, "campaign": told}))
    return changed


def check_same(campaign: Campaign, standing: Standing) -> None:
    """Raise RecipeError where the ledger is of another campaign, or of another recipe."""
    began = standing.began
    if began is None:
        raise BadInput(
            f"the campaign {campaign.name!r} has not begun under {campaign.root}; start it first"
        )
    if campaign.digest != began.digest:
        raise RecipeError(
            f"the campaign {campaign.name!r} was begun with other settings ({began.digest}; this "
            f"file has {campaign.digest}): only limits other than trials, schedule, retries and "
            "price may change while it runs. Give it another name."
        )
    if (found := recipe_digest(shared_recipe(campaign))) != began.recipe:
        raise RecipeError(
            f"{campaign.recipe} with its overlays is not what it was when {campaign.name!r} began "
            f"({began.recipe}, now {found}): trials before and after could not be compared. Take "
            "the change back, or give the campaign another name."
        )


def shared_recipe(campaign: Campaign) -> Recipe:
    """The recipe with what all trials lay over it."""
    named = [f"run.name={campaign.name}", f"run.root={campaign.root}"]
    return trial_recipe(campaign, [*shared_arguments(campaign), *named])


def tick(ledger: CampaignLedger, cluster: Cluster, now: float) -> Standing:
    """Look, decide and carry out. Returns where the campaign stands then.

    Raises ClusterError or StorageError where one of these does not answer; the next tick goes on.
    """
    standing = Standing(ledger.read())
    recipe = shared_recipe(standing.campaign)
    carry_out(standing, cluster)
    _note(ledger, observe(standing, cluster, recipe, now))
    _decide(ledger)
    standing = Standing(ledger.read())
    carry_out(standing, cluster)
    write(standing.campaign.root, leaderboard(standing, now))
    return standing


def follow(
    ledger: CampaignLedger,
    cluster: Cluster,
    every_s: float,
    say: Callable[[Standing], None],
) -> Standing:
    """Tick until the campaign is closed and nothing of it runs any more.

    A cluster or a store that does not answer now is asked again: jobs go on meanwhile. Raises what
    it said where it never answered, or has not for long.
    """
    answered: float | None = None
    while True:
        try:
            standing = tick(ledger, cluster, time.time())
        except (ClusterError, StorageError) as error:
            if answered is None or time.monotonic() - answered > PATIENCE_S:
                raise
            log.warning("%s", error)
        else:
            answered = time.monotonic()
            say(standing)
            if standing.closed is not None and not standing.open_jobs:
                return standing
        time.sleep(every_s)


def wish(ledger: CampaignLedger, event: Event) -> None:
    """Write down what somebody asked for, after whatever else is written meanwhile."""
    while not ledger.append(event):
        ledger.read()


def carry_out(standing: Standing, cluster: Cluster) -> None:
    """Do what was decided about jobs that have not ended, if it is not done."""
    for job in standing.open_jobs:
        is_known = cluster.look(job.name) is not None
        if job.paused is not None:
            if is_known:
                ask_to_pause(run_url(standing.campaign, job.run), job.name, "the campaign")
            if is_known and job.killed:
                cluster.stop(job.name)
        elif not is_known:
            _submit(standing, job, cluster)


def _submit(standing: Standing, job: Job, cluster: Cluster) -> None:
    try:
        arguments = job_arguments(standing, job)
    except BadInput:  # the next observation says so
        return
    pause_at = None if job.allowed_s is None else time.time() + job.allowed_s
    script = f"jobs/{standing.campaign.recipe.rpartition('/')[2].removesuffix('.yaml')}.py"
    cluster.submit(job.name, script, arguments, job_variables(job.name, pause_at))


def _note(ledger: CampaignLedger, seen: Observed) -> None:
    """Write an observation down if it has news, or something is decided upon it."""
    while True:
        events = ledger.read()
        is_news = bool(seen.ended) or next_decision([*events, seen]) is not None
        if not is_news or ledger.append(seen):
            return


def _decide(ledger: CampaignLedger) -> None:
    while (decision := next_decision(ledger.read())) is not None:
        ledger.append(decision)  # or another controller was faster: then the next is decided
