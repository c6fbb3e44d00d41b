"""A run is one complete, typed, frozen recipe: few dials are set by a person, the rest is derived and written down.

The digest names the recipe's content; the same recipe, data and machine give the same model.
"""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError
from pydantic.alias_generators import to_camel, to_snake

from llmops_resources.errors import FieldProblem, ValidationFailed, field_problem
from llmops_resources.training.architecture import Architecture, inconsistencies
from llmops_resources.values import Value, sha256_of

#: From this many parameters on a model is cut over the processes by itself: with gradients and AdamW's state in float32
#: it takes 16 GB, which a usual GPU has not left beside what a step keeps.
SHARDED_FROM: Final = 1_000_000_000
#: From this many parameters of blocks on a new model on a GPU is compiled by itself: a step of 124M takes about half
#: the time (docs/benchmarks.md), which a run soon makes up for the minute that compiling takes. Texts that are packed
#: have one shape; pairs of many lengths, which would be compiled again and again, are left as they are.
COMPILED_FROM: Final = 20_000_000
#: Decided by the job and its resources, never by a hyperparameter.
NOT_DIALS = frozenset({"job_type", "use_gpu", "processes"})


class JobType(StrEnum):
    """What a training program does; `distributed` is a way of running one of these and not a fourth."""

    FROM_SCRATCH = "from_scratch"
    PRETRAIN = "pretrain"
    FINETUNE = "finetune"


class OptimizerName(StrEnum):
    """`muon`: Muon for the weight matrices and AdamW for the rest. `adamw`: AdamW for everything."""

    MUON = "muon"
    ADAMW = "adamw"


class Initialization(StrEnum):
    """What a new model's weights are before its first step.

    `random`; `pretrained_embeddings`: the tokenizer and the embeddings of `modelId`, everything else random;
    `custom_weights`: the tokenizer of `modelId`, and each of its tensors that has the same name and shape here.
    """

    RANDOM = "random"
    PRETRAINED_EMBEDDINGS = "pretrained_embeddings"
    CUSTOM_WEIGHTS = "custom_weights"


class Precision(StrEnum):
    """`auto`: bfloat16 on a GPU that has it, float32 everywhere else."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class Parallelism(StrEnum):
    """How several processes share a model. `ddp`: each holds it whole. `fsdp`: each holds a part of it (FSDP2).

    `auto`: `fsdp` from `SHARDED_FROM` parameters on, else `ddp`, which exchanges less.
    """

    AUTO = "auto"
    DDP = "ddp"
    FSDP = "fsdp"


class Lora(Value):
    """Low-rank adapters (Hu et al. 2021) instead of all weights; merged into the model when the training ends."""

    rank: Annotated[int, Field(ge=1, le=1_024)] = 8
    alpha: Annotated[float, Field(gt=0, le=4_096)] = 16.0  # the update is scaled by alpha / rank
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ()  # names of the linear layers that get one; none: all but the head


class Recipe(Value):
    """Everything that decides the result of a training run, apart from the data and the base model."""

    job_type: JobType
    architecture: Architecture | None = None
    text_column: Annotated[str, Field(min_length=1)] = "text"
    prompt_column: Annotated[str, Field(min_length=1)] = "question"
    answer_column: Annotated[str, Field(min_length=1)] = "answer"
    epochs: Annotated[float, Field(gt=0, le=1_000)]  # passes over the training split
    max_tokens: Annotated[int, Field(ge=1)] | None = None  # through the model; stops before `epochs` are over
    batch_size: Annotated[int, Field(ge=1, le=65_536)]  # sequences a step, over all processes
    gradient_accumulation: Annotated[int, Field(ge=1, le=65_536)] = 1  # pieces that a process cuts its share into
    learning_rate: Annotated[float, Field(gt=0, le=1)]  # the peak; Muon's for matrices when Muon is used
    adamw_learning_rate: Annotated[float, Field(gt=0, le=1)]  # the peak of what AdamW trains
    optimizer: OptimizerName = OptimizerName.MUON
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    gradient_clip: Annotated[float, Field(gt=0, le=1_000)] = 1.0  # largest norm of all gradients together
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05  # of the steps; a cosine to a tenth of the peak follows
    evaluation_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.02  # of the rows, held out and never trained on
    evaluations: Annotated[int, Field(ge=1, le=1_000)] = 4  # during training, the last one at the end
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the attention weights
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    initialization: Initialization = Initialization.RANDOM
    lora: Lora | None = None
    precision: Precision = Precision.AUTO
    compile: bool = False  # torch.compile; by itself of new models on a GPU from COMPILED_FROM parameters on
    packing: bool = False  # of questions with answers: short pairs share a sequence; text is packed anyhow
    parallelism: Parallelism = Parallelism.AUTO
    checkpoint_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 10.0
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None  # instead of by time
    processes: Annotated[int, Field(ge=1, le=4_096)] = 1
    use_gpu: bool = False

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON of the whole recipe."""
        return sha256_of(self.json_dict())

    @classmethod
    def from_hyperparameters(
        cls, job_type: str, hyperparameters: Mapping[str, Any], use_gpu: bool, processes: int = 1
    ) -> "Recipe":
        """The complete recipe for what a person has set, in camelCase or snake_case.

        `job_type` is one of `JobType`: of a distributed job, the kind that its `processes` share.

        Raises:
            ValidationFailed: with every problem, under paths such as `hyperparameters.architecture.hiddenSize`.
        """
        if job_type not in set(JobType):
            known = ", ".join(JobType)
            problem = field_problem("jobType", f"{job_type!r} is not a kind of training", f"use one of: {known}")
            raise ValidationFailed("the training recipe is not valid", details=[problem])
        kind = JobType(job_type)
        given = {to_snake(str(name)): value for name, value in hyperparameters.items() if value is not None}
        problems = _misplaced(kind, given)
        if kind is JobType.FINETUNE:
            given.pop("architecture", None)
        decided = {"job_type": kind, "use_gpu": use_gpu, "processes": processes}
        try:
            recipe = cls.model_validate(_defaults(kind, given, use_gpu=use_gpu) | given | decided)
        except ValidationError as error:
            # What is derived from a field that is itself wrong is missing too: only the cause is worth saying.
            entries = [e for e in error.errors(include_url=False) if not (e["type"] == "missing" and _is_derived(e))]
            problems += [_as_field_problem(entry) for entry in entries]
        else:
            problems += inconsistencies(recipe.architecture) if recipe.architecture else []
            problems += _contradictions(recipe)
            if not problems:
                return recipe
        message = f"the training recipe is not valid: {problems[0]['path']}: {problems[0]['problem']}"
        raise ValidationFailed(message, remedy=problems[0]["remedy"], details=problems)

    def is_sharded(self, parameters: int) -> bool:
        """Whether a model of so many parameters is cut over the processes."""
        if self.processes == 1 or self.parallelism is Parallelism.DDP:
            return False
        return self.parallelism is Parallelism.FSDP or parameters >= SHARDED_FROM

    @property
    def needs_base(self) -> bool:
        """Whether the run starts from something of another model: its weights, its embeddings or its tokenizer."""
        return self.job_type is JobType.FINETUNE or self.initialization is not Initialization.RANDOM


def _defaults(kind: JobType, given: Mapping[str, Any], *, use_gpu: bool) -> dict[str, Any]:
    # Orthogonalizing means little for an adapter's thin matrices.
    usual = OptimizerName.ADAMW if given.get("lora") is not None else OptimizerName.MUON
    optimizer = given.get("optimizer", usual)
    muon = optimizer == OptimizerName.MUON
    peak = given.get("learning_rate", 0.01 if muon else 3e-3)
    finetune = kind is JobType.FINETUNE
    return {
        "optimizer": optimizer,
        "epochs": 3 if finetune else 1,
        "batch_size": 16 if finetune else 8,
        "learning_rate": peak,
        # Embeddings and norms take AdamW's usual rate, well below the one Muon's normalized steps need.
        "adamw_learning_rate": peak * 0.3 if muon and isinstance(peak, int | float) else peak,
        "compile": use_gpu and not finetune and given.get("parallelism") != Parallelism.FSDP and _is_large(given),
    }


def _is_large(given: Mapping[str, Any]) -> bool:
    """Whether the blocks of the architecture are as large as a usual model's from `COMPILED_FROM` on."""
    shape = given.get("architecture")
    if not isinstance(shape, Mapping):
        return False
    width, layers = (shape.get(to_camel(name), shape.get(name)) for name in ("hidden_size", "layers"))
    return isinstance(width, int) and isinstance(layers, int) and 12 * width**2 * layers >= COMPILED_FROM


def _misplaced(kind: JobType, given: Mapping[str, Any]) -> list[FieldProblem]:
    path = "hyperparameters.architecture"
    problems = [
        field_problem(f"hyperparameters.{to_camel(name)}", "is no hyperparameter", "set it on the job itself")
        for name in sorted(NOT_DIALS & set(given))
    ]
    if kind is JobType.FINETUNE and "architecture" in given:
        problem = "a fine-tuned model has the architecture of its base model"
        problems.append(field_problem(path, problem, "leave it out"))
    if kind is not JobType.FINETUNE and "architecture" not in given:
        remedy = 'give at least {"hiddenSize": …, "layers": …}'
        problems.append(field_problem(path, f"{kind.value} starts from no model and needs an architecture", remedy))
    if kind is not JobType.FINETUNE and "lora" in given:
        remedy = "leave it out, or use finetune"
        problems.append(field_problem("hyperparameters.lora", "adapters need a model to adapt", remedy))
    if kind is JobType.FINETUNE and given.get("initialization", Initialization.RANDOM) != Initialization.RANDOM:
        path, remedy = "hyperparameters.initialization", "leave it out"
        problems.append(field_problem(path, "fine-tuning starts from the weights of its base model", remedy))
    return problems


def _contradictions(recipe: Recipe) -> list[FieldProblem]:
    """Dials that are right each by itself and wrong together."""
    problems = []
    pieces = recipe.processes * recipe.gradient_accumulation
    if recipe.batch_size < pieces:
        problem = f"{recipe.batch_size} sequences a step cannot be cut into {pieces} pieces"
        remedy = f"use at least {pieces}, or a smaller gradientAccumulation"
        problems.append(field_problem("hyperparameters.batchSize", problem, remedy))
    if recipe.parallelism is Parallelism.FSDP:
        path = "hyperparameters.parallelism"
        if recipe.processes == 1:
            remedy = "leave it out, or use jobType distributed"
            problems.append(field_problem(path, "one process cannot share a model with others", remedy))
        if recipe.compile:
            problems.append(field_problem(path, "a model that is cut up is not compiled", "leave out compile"))
    if recipe.optimizer is OptimizerName.MUON and recipe.lora:
        problem = "Muon is for whole weight matrices, and an adapter's are thin"
        problems.append(field_problem("hyperparameters.optimizer", problem, "use adamw"))
    if recipe.precision is Precision.BF16 and not recipe.use_gpu:
        problem = "bfloat16 is many times slower than float32 on most processors"
        problems.append(field_problem("hyperparameters.precision", problem, "use fp32 or auto, or useGpu"))
    return problems


def _is_derived(entry: Mapping[str, Any]) -> bool:
    return to_snake(str(entry["loc"][-1])) in {"heads", "intermediate_size"}


def _as_field_problem(entry: Mapping[str, Any]) -> FieldProblem:
    """One Pydantic error as a path in the request, a sentence, and a remedy."""
    names = [to_camel(str(part)) for part in entry["loc"]]
    path = ".".join(["hyperparameters", *names])
    if entry["type"] == "extra_forbidden":
        owners: dict[str, type[Value]] = {"architecture": Architecture, "lora": Lora}
        owner = owners.get(names[0], Recipe)
        known = sorted(to_camel(name) for name in owner.model_fields if name not in NOT_DIALS)
        close = difflib.get_close_matches(names[-1], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(known)}"
        return field_problem(path, "there is no such hyperparameter", remedy)
    if entry["type"] == "missing":
        return field_problem(path, "is missing", "give it a value")
    return field_problem(path, f"{entry['msg']}, got {entry['input']!r}"[:300], "give a value in the stated range")
