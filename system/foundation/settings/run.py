"""What a run is called, what it is given, and what it sees."""

from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

# A label and its value, as Ray and Kubernetes allow them. No operators: equal means that it fits.
LabelName = Annotated[str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*$")]
LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]


class Run(Record):
    """Which run this is, how long it goes on, and where it writes."""

    # Ray and every store make file names of it, which may have 255 bytes with what they add.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = Field(
        description="name of the run; the same name under the same root resumes it"
    )
    root: str = Field("runs", description="folder or url that holds runs (any fsspec url)")
    seed: int = Field(0, ge=0, description="seed of every random stream of the run")
    allow_changes: tuple[
        Literal["run.seed", "data.crop", "data.flip", "data.selection", "data.window_shards"], ...
    ] = Field(
        (),
        description="keys of the data's order and randomness that a run may change when it goes "
        "on; samples of the epoch under way may then come twice or not at all",
    )
    total_images: PositiveInt = Field(description="training images after which the run is done")
    global_batch: PositiveInt = Field(description="images per update, whatever the cluster's size")
    report_every_images: PositiveInt = Field(description="images between two ledger reports")
    checkpoint_every_images: PositiveInt = Field(description="images between two checkpoints")
    keep_checkpoints: PositiveInt = Field(3, description="newest checkpoints that are kept")
    keep_best: Annotated[int, Field(ge=0)] = Field(
        1,
        description="checkpoints kept beside them: the best as evaluated. What waits for its "
        "evaluation, and the last one before a spike that the run was taken back for, stay as well",
    )
    keep_every_images: PositiveInt | None = Field(
        None, description="keep one checkpoint of every so many images for good; null: none"
    )


class Cluster(Record):
    """What Ray gives the run. The global batch is fixed; this only decides how it is cut."""

    workers: PositiveInt = Field(
        1, description="training workers (one GPU each, where GPUs are used)"
    )
    min_workers: PositiveInt | None = Field(
        None,
        description="fewest workers to go on with: where nodes leave, the run takes what is left, "
        "and up to `workers` again where nodes join; null: always `workers`",
    )
    resize_interval_s: PositiveInt = Field(
        60, description="seconds between two looks for nodes that have joined (with min_workers)"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="where workers compute; auto takes cuda when the driver's cluster has GPUs",
    )
    capacity: Literal["present", "on_demand"] = Field(
        "present",
        description="present: what the cluster has must suffice before anything starts; on_demand: "
        "it gets nodes as they are asked for (an autoscaler), and the run waits for them",
    )
    cpus_per_worker: Annotated[float, Field(gt=0)] = Field(
        1, description="CPUs reserved per worker"
    )
    micro_batch: PositiveInt | None = Field(
        None, description="images per worker per pass; null puts a worker's whole share in one pass"
    )
    max_failures: Annotated[int, Field(ge=-1)] = Field(
        3,
        description="restarts after crashes in a row, with no new checkpoint between them, before "
        "giving up (-1: no limit); see system/launch/retry_policy.py",
    )
    start_timeout_s: PositiveInt = Field(
        30,
        description="seconds to wait for the workers' places before the cluster is looked at anew; "
        "there is no limit to how often, and what a placed worker takes to start is not counted",
    )
    evaluation_cpus: Annotated[float, Field(ge=0)] = Field(
        1, description="CPUs of the evaluation task, and of each of its workers"
    )
    evaluation_gpus: Annotated[float, Field(ge=0)] = Field(
        0, description="GPUs of the evaluation task, and of each of its workers"
    )
    evaluation_workers: Annotated[int, Field(ge=0)] = Field(
        0, description="workers that draw for the evaluation task; 0: it draws by itself"
    )
    training_labels: dict[LabelName, LabelValue] = Field(
        {}, description="labels of nodes that training workers run on (Ray's); {} takes any node"
    )
    evaluation_labels: dict[str, str] = Field(
        {}, description="labels of nodes that evaluations run on (Ray's); {} takes any node"
    )

    @property
    def evaluation_parts(self) -> int:
        """How many times the evaluation's CPUs and GPUs are taken: by its task and its workers."""
        return 1 + self.evaluation_workers


class Wandb(Record):
    """The Weights & Biases mirror of the ledger."""

    mode: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online when WANDB_API_KEY is set, else offline"
    )
    project: str = Field("latent-flows", description="project name there")
