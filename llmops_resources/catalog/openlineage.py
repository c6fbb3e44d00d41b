"""Our facts about runs as OpenLineage RunEvents (specification 2-0-2), built from its own client's objects."""

from typing import Any, Final

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    ownership_dataset,
    schema_dataset,
)
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset as assertions,
)
from openlineage.client.facet_v2 import (
    data_quality_metrics_input_dataset as metrics,
)
from openlineage.client.serde import Serde

from llmops_resources.catalog.lineage_events import Artifact, RunFact

PRODUCER: Final = "urn:llmops:platform"
#: A version is named by its number and, where it has files, by their digest.
_SEPARATOR: Final = "@"


def event(fact: RunFact, namespace: str) -> dict[str, Any]:
    """The RunEvent as JSON-ready data."""
    facets: dict[str, RunFacet] = {}
    if fact.error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=fact.error, programmingLanguage="PYTHON", producer=PRODUCER
        )
    job_type = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="LLMOPS", jobType=fact.work.upper(), producer=PRODUCER
    )
    return Serde.to_dict(
        RunEvent(
            eventType=RunState(fact.phase.value),
            eventTime=fact.at,
            run=Run(runId=str(fact.run_id), facets=facets),
            job=Job(namespace=namespace, name=fact.job, facets={"jobType": job_type}),
            inputs=[_input(artifact, namespace) for artifact in fact.inputs],
            outputs=[_output(artifact, namespace) for artifact in fact.outputs],
            producer=PRODUCER,
        )
    )


def _input(artifact: Artifact, namespace: str) -> InputDataset:
    facets: dict[str, Any] = {}
    if artifact.rows is not None or artifact.size_bytes is not None:
        facets["dataQualityMetrics"] = metrics.DataQualityMetricsInputDatasetFacet(
            columnMetrics={},
            rowCount=artifact.rows,
            bytes=artifact.size_bytes,
            fileCount=artifact.files,
            producer=PRODUCER,
        )
    if artifact.pii_status in {"clean", "failed"}:
        facets["dataQualityAssertions"] = assertions.DataQualityAssertionsDatasetFacet(
            assertions=_assertions(artifact), producer=PRODUCER
        )
    return InputDataset(
        namespace=namespace, name=artifact.name, facets=_facets(artifact), inputFacets=facets
    )


def _output(artifact: Artifact, namespace: str) -> OutputDataset:
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=artifact.rows, size=artifact.size_bytes, fileCount=artifact.files, producer=PRODUCER
    )
    return OutputDataset(
        namespace=namespace,
        name=artifact.name,
        facets=_facets(artifact),
        outputFacets={"outputStatistics": statistics},
    )


def _facets(artifact: Artifact) -> dict[str, Any]:
    named = artifact.version + (f"{_SEPARATOR}{artifact.digest}" if artifact.digest else "")
    facets: dict[str, Any] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=named, producer=PRODUCER)
    }
    if artifact.columns:
        fields = [
            schema_dataset.SchemaDatasetFacetFields(name=name, type=kind, ordinal_position=number)
            for number, (name, kind) in enumerate(artifact.columns, start=1)
        ]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields, producer=PRODUCER)
    if artifact.owner_team:
        owner = ownership_dataset.Owner(name=f"team:{artifact.owner_team}", type="OWNER")
        facets["ownership"] = ownership_dataset.OwnershipDatasetFacet(owners=[owner], producer=PRODUCER)
    return facets


def _assertions(artifact: Artifact) -> list[assertions.Assertion]:
    found = [
        assertions.Assertion(
            assertion="no_personal_data", success=artifact.pii_status == "clean", actual=artifact.pii_status
        )
    ]
    if artifact.quality_score is not None:
        score = f"{artifact.quality_score:g}"
        found.append(assertions.Assertion(assertion="quality_score", success=True, severity="warn", actual=score))
    return found
