"""The step between an endpoint's wanted objects and those a cluster has: a pure function to a list of steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llmops_resources.cluster.values import ENDPOINT, MODEL, Object
from llmops_resources.serving import knative
from llmops_resources.serving.manifests import APPLIED, FINGERPRINT, KSERVE_MODE

#: What makes pods.
WORKLOADS: Final = frozenset({"Deployment", "InferenceService"})


class Verb(StrEnum):
    APPLY = "apply"
    DELETE = "delete"


@dataclass(frozen=True)
class Step:
    """One call to the cluster, and why. `manifest` is what to apply."""

    verb: Verb
    kind: str
    name: str
    reason: str
    manifest: Object | None = None


def converge(
    wanted: Sequence[Object], found: Sequence[Object], *, again: bool = False, withdrawn: bool = False
) -> list[Step]:
    """What makes an endpoint's objects those that are wanted: none of them when nothing of it may be served.

    What has the fingerprint of its manifest is left alone, unless `again` asks to put right what others changed by
    hand. With `withdrawn`, pods of the endpoint hold bytes whose approval was taken back: what makes them goes first,
    and comes back when they have gone. The same with an InferenceService of another mode, which KServe does not change.
    Otherwise new objects are applied before old ones are removed, and traffic is taken away before what answers it.
    """
    there = {_key(thing): thing for thing in found}
    mine = {_key(thing) for thing in wanted}
    made_anew = {key for thing in wanted if _is_of_another_mode(thing, there.get(key := _key(thing)))}
    steps = []
    for thing in sorted(wanted, key=lambda thing: APPLIED.index(thing["kind"])):
        key = _key(thing)
        waits = key in made_anew or (withdrawn and thing["kind"] in WORKLOADS)
        reason = "" if waits else _why(thing, there.get(key), again)
        if reason:
            steps.append(Step(Verb.APPLY, *key, reason, thing))
    removals = []
    gone = [key for key in there if key not in mine or key in made_anew or (withdrawn and key[0] in WORKLOADS)]
    for key in sorted(gone, key=lambda key: -APPLIED.index(key[0])):
        reason = "it holds bytes whose approval was withdrawn" if key in mine else "it is not wanted any more"
        reason = "KServe does not change its mode: it is made anew" if key in made_anew else reason
        removals.append(Step(Verb.DELETE, *key, reason))
    return [*removals, *steps] if withdrawn else [*steps, *removals]


def by_endpoint(things: Sequence[Object]) -> dict[str, list[Object]]:
    """Objects by the id of their endpoint; those that a controller made of ours are its own affair."""
    found: dict[str, list[Object]] = {}
    for thing in things:
        metadata = thing["metadata"]
        if (endpoint := metadata.get("labels", {}).get(ENDPOINT)) and not metadata.get("ownerReferences"):
            found.setdefault(endpoint, []).append(thing)
    return found


def digests(pods: Sequence[Object]) -> frozenset[str]:
    """The bytes that pods serve which are not ending yet, as `placing.short` writes them."""
    alive = (pod["metadata"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
    return frozenset(metadata["labels"][MODEL] for metadata in alive if MODEL in metadata.get("labels", {}))


def _key(thing: Object) -> tuple[str, str]:
    return thing["kind"], thing["metadata"]["name"]


def _is_of_another_mode(wanted: Object, found: Object | None) -> bool:
    if found is None or wanted["kind"] != "InferenceService":
        return False
    modes = [thing["metadata"].get("annotations", {}).get(KSERVE_MODE) for thing in (wanted, found)]
    return all(modes) and knative.is_meant(modes[0]) is not knative.is_meant(modes[1])


def _why(wanted: Object, found: Object | None, again: bool) -> str:
    """Why an object is applied; empty when it need not be."""
    if found is None:
        return "it is not there"
    if found["metadata"].get("annotations", {}).get(FINGERPRINT) != wanted["metadata"]["annotations"][FINGERPRINT]:
        return "another state of it is wanted"
    return "changes made by hand are undone" if again else ""
