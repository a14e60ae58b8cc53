r"""Run a sweep over a recipe: trials, successive halving, confirmation of the winners.

    python jobs/run_campaign.py plan configs/campaigns/digits_spread.yaml pace_from=runs/digits
    python jobs/run_campaign.py start configs/campaigns/digits_spread.yaml address=http://head:8265
    python jobs/run_campaign.py tick configs/campaigns/digits_spread.yaml     # from cron, say
    python jobs/run_campaign.py status|leaderboard|stop|resume|replay configs/campaigns/...
    python jobs/run_campaign.py promote configs/campaigns/digits_spread.yaml total_images=2e8

A trial is a Ray job of the ordinary kind. The state is a ledger in storage beside the runs: `tick`
looks, decides and carries out, may be called by anybody at any time, also twice at once, and goes
on where one that was killed left off; `start` calls it until the end. `stop` pauses what runs, with
a checkpoint; `resume` also takes over changed limits and schedule. The cluster is named by
`address`, or by RAY_API_SERVER_ADDRESS; its token, if it has one, by RAY_AUTH_TOKEN.
See docs/campaigns.md.
"""

from system.campaign.commands import Request
from system.campaign.commands import main
from system.launch.command import command

if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Request, bare="action")
