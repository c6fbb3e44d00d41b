"""Gates of evaluations: what a model must prove, declared beforehand, and the verdicts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, model_validator

from llmops_resources.database import Actor
from llmops_resources.evaluation import gate_verdicts
from llmops_resources.evaluation.gate_conditions import Condition, Label, check_together
from llmops_resources.evaluation.gate_verdicts import DeclaredGate, GateVerdict
from llmops_resources.evaluation.gates import LEAST_SAMPLES, Gate
from llmops_resources.governance.permissions import Permission
from serving_api.dependencies import Doors, IdempotencyKey, Requires, audited_refusal, create_once
from serving_api.envelope import Envelope, ok
from serving_api.schemas import Body

router = APIRouter(prefix="/evaluation", tags=["evaluation"])
Reader = Annotated[Actor, Depends(Requires(Permission.EVALUATION_READ))]


class GateCreate(Body):
    """No conditions withdraw the gate of this model, benchmark and name."""

    name: Label
    model: Label
    benchmark: Label
    conditions: Annotated[list[Condition], Field(max_length=20)]
    min_samples: Annotated[int, Field(ge=LEAST_SAMPLES, le=1_000_000)] = LEAST_SAMPLES

    @model_validator(mode="after")
    def _together(self) -> "GateCreate":
        check_together(self.conditions)
        return self

    def gate(self) -> Gate:
        return Gate(
            name=self.name,
            model=self.model,
            benchmark=self.benchmark,
            conditions=tuple(self.conditions),
            min_samples=self.min_samples,
        )


@router.get("/gates")
def list_gates(
    platform: Doors,
    actor: Reader,
    model: Annotated[str | None, Query(description="Of this model's name.")] = None,
    benchmark: Annotated[str | None, Query(description="Of this benchmark's name.")] = None,
) -> Envelope[list[DeclaredGate]]:
    """Every version of the gates, newest first."""
    with platform.transaction(actor) as tx:
        return ok(gate_verdicts.declared(tx, model=model, benchmark=benchmark))


@router.post("/gates")
def declare_gate(
    platform: Doors, actor: Reader, request: Request, body: GateCreate, key: IdempotencyKey = None
) -> Envelope[DeclaredGate]:
    """Declare what a model must show; evaluations asked for from now on are judged. Takes who may approve models."""
    gate = body.gate()
    with audited_refusal(platform, actor, "gate.declare", f"{gate.model}/{gate.name}"):
        answer = create_once(
            platform, actor, request, key, body.model_dump_json(), lambda tx: gate_verdicts.declare(tx, gate)
        )
    return ok(answer, "the gate is declared")


@router.get("/gates/{gate_id}")
def get_gate(platform: Doors, actor: Reader, gate_id: UUID) -> Envelope[DeclaredGate]:
    with platform.transaction(actor) as tx:
        return ok(gate_verdicts.get(tx, gate_id))


@router.get("/runs/{run_id}/verdicts")
def list_verdicts(platform: Doors, actor: Reader, run_id: UUID) -> Envelope[list[GateVerdict]]:
    """What the gates said about an evaluation, each with all its reasons."""
    with platform.transaction(actor) as tx:
        return ok(gate_verdicts.of_run(tx, run_id))
