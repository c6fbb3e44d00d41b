"""What a job asks for: its type as submitted, machines, priority, retries and notices; every problem has a remedy."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from llmops_resources.errors import FieldProblem, ValidationFailed, field_problem
from llmops_resources.training.recipe import JobType
from llmops_resources.values import Value

CPU_POOL: Final = "cpu"  # the pool of jobs without a GPU; no GPU type may have this name
DEFAULT_MINUTES: Final = 24 * 60
LONGEST_MINUTES: Final = 30 * 24 * 60
LOWEST, HIGHEST = -100, 100


class SubmittedType(StrEnum):
    """What a person asks for. `distributed` runs one of the other three, the base job type, in several processes."""

    FINETUNE = "finetune"
    FROM_SCRATCH = "from_scratch"
    PRETRAIN = "pretrain"
    DISTRIBUTED = "distributed"


class PriorityClass(StrEnum):
    """Names for priorities, each with a target for how long a job waits (TRAINING_SLA_MINUTES)."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


PRIORITIES: Final = {
    PriorityClass.LOW: -50,
    PriorityClass.NORMAL: 0,
    PriorityClass.HIGH: 50,
    PriorityClass.URGENT: 100,
}


def class_of(priority: int) -> PriorityClass:
    """The class whose number is nearest; between two, the higher one."""
    return min(PRIORITIES, key=lambda name: (abs(PRIORITIES[name] - priority), -PRIORITIES[name]))


def _number(value: object) -> object:
    return PRIORITIES[PriorityClass(value)] if isinstance(value, str) and value in set(PriorityClass) else value


#: A whole number from -100 to 100, or low, normal, high, urgent (-50, 0, 50, 100); larger goes first.
Priority = Annotated[
    int,
    BeforeValidator(_number),
    Field(ge=LOWEST, le=HIGHEST),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST},
                {"type": "string", "enum": [name.value for name in PriorityClass]},
            ]
        }
    ),
]


def _gpu_type(value: str) -> str:
    name = value.lower()
    if name == CPU_POOL:
        raise ValueError("is no type of GPU; set useGpu to false for a job on CPUs")
    return name


class ResourceProfile(Value):
    """The machines of a job. `gpu_count` and the CPU fields are for each node, `max_duration` is minutes an attempt.

    `memory` is a quantity as Kubernetes writes it, such as 4Gi. Missing: what the installation gives.
    """

    gpu_count: Annotated[int, Field(ge=0, le=1_024)] | None = None
    gpu_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"), AfterValidator(_gpu_type)] | None = (
        None
    )
    nodes: Annotated[int, Field(ge=1, le=256)] = 1
    max_duration: Annotated[int, Field(ge=1, le=LONGEST_MINUTES)] = DEFAULT_MINUTES
    cpu_cores: Annotated[float, Field(gt=0, le=1_024)] | None = None
    memory: Annotated[str, Field(pattern=r"^[1-9]\d{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$")] | None = None

    @property
    def processes(self) -> int:
        """One a GPU, or one a node without; what is not distributed has one node with at most one GPU."""
        return self.nodes * max(self.gpu_count or 0, 1)

    @property
    def gpus(self) -> int:
        """GPUs on all nodes together, one when a GPU job says nothing."""
        return self.nodes * max(1 if self.gpu_count is None else self.gpu_count, 1)


class RetryPolicy(Value):
    """How often a job is tried again when the infrastructure failed it; waits double from `backoff_seconds`."""

    max_retries: Annotated[int, Field(ge=0, le=3)] = 2
    backoff_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30.0


class Notifications(Value):
    """Which moves of the job the training webhook is told of."""

    on_start: bool = False
    on_completion: bool = False


def read_profile(given: Mapping[str, Any], kind: SubmittedType, use_gpu: bool) -> ResourceProfile:
    """The profile that a request means, in camelCase or snake_case.

    Raises:
        ValidationFailed: with every problem, under paths such as `resourceProfile.gpuCount`.
    """
    try:
        profile = ResourceProfile.model_validate(dict(given))
    except ValidationError as error:
        problems = [_as_field_problem(dict(entry)) for entry in error.errors(include_url=False)]
        raise ValidationFailed("the resource profile is not valid", details=problems) from None
    if problems := [*_without_gpu(profile, use_gpu), *_processes(profile, kind, use_gpu)]:
        raise ValidationFailed("the resource profile is not valid", details=problems)
    return profile


def base_type(kind: SubmittedType, given: JobType | None) -> JobType:
    """What the job trains. Raises ValidationFailed when `baseJobType` is missing, or says something else."""
    if kind is SubmittedType.DISTRIBUTED:
        if given is None:
            remedy = f"give what to distribute: {', '.join(JobType)}"
            problem = field_problem("baseJobType", "is required for distributed", remedy)
            raise ValidationFailed("a distributed job needs a base job type", details=[problem])
        return given
    if given is not None and given.value != kind.value:
        problem = field_problem("baseJobType", f"is {given}, but the job is {kind}", "leave it out")
        raise ValidationFailed("the base job type is only for distributed jobs", details=[problem])
    return JobType(kind.value)


def _without_gpu(profile: ResourceProfile, use_gpu: bool) -> list[FieldProblem]:
    if use_gpu:
        zero = profile.gpu_count == 0
        remedy = "give at least 1, or set useGpu to false"
        return [field_problem("resourceProfile.gpuCount", "a GPU job needs a GPU", remedy)] if zero else []
    remedy = "leave it out, or set useGpu to true"
    asked = {"gpuCount": bool(profile.gpu_count), "gpuType": profile.gpu_type is not None}
    path = "resourceProfile"
    return [field_problem(f"{path}.{name}", "is for jobs with a GPU", remedy) for name, said in asked.items() if said]


def _processes(profile: ResourceProfile, kind: SubmittedType, use_gpu: bool) -> list[FieldProblem]:
    if kind is SubmittedType.DISTRIBUTED:
        if profile.processes >= 2:
            return []
        path, remedy = ("gpuCount", "give nodes x gpuCount of at least 2") if use_gpu else ("nodes", "give at least 2")
        return [field_problem(f"resourceProfile.{path}", "a distributed job needs two processes or more", remedy)]
    remedy = "use jobType distributed with a baseJobType, or 1"
    asked = {"nodes": profile.nodes, "gpuCount": profile.gpu_count or 0}
    return [
        field_problem(f"resourceProfile.{name}", f"{kind} runs in one process and would leave the rest idle", remedy)
        for name, number in asked.items()
        if number > 1
    ]


_REMEDIES: Final = {
    "gpu_count": "give a whole number from 0 to 1024",
    "gpu_type": "give a type such as a100; GET /training/queue lists what is here",
    "nodes": "give a whole number from 1 to 256",
    "max_duration": f"give minutes from 1 to {LONGEST_MINUTES}",
    "cpu_cores": "give a number of cores up to 1024",
    "memory": "give a quantity such as 4Gi",
}


def _as_field_problem(entry: Mapping[str, Any]) -> FieldProblem:
    given = str(entry["loc"][0])
    name = next((field for field in ResourceProfile.model_fields if given in {field, to_camel(field)}), None)
    if name is None:
        known = ", ".join(to_camel(field) for field in ResourceProfile.model_fields)
        return field_problem(f"resourceProfile.{given}"[:200], "there is no such resource", f"use one of: {known}")
    problem = f"{str(entry['msg']).removeprefix('Value error, ')}, got {entry['input']!r}"[:300]
    return field_problem(f"resourceProfile.{to_camel(name)}", problem, _REMEDIES[name])
