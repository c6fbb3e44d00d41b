"""What a spreadsheet gets of an experiment, an evaluation or a review: rows of text, none of which is a formula."""

import csv
import io
from collections.abc import Sequence

from llmops_resources.checks.display import in_spreadsheet
from llmops_resources.evaluation.promotion import AdvisedComparison
from llmops_resources.evaluation.review_export import Said
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.training.comparing import flat
from llmops_resources.training.experiments import Metric
from llmops_resources.training.records import ExperimentRecord

HEADER = ("kind", "name", "step", "value", "unit", "recorded at")


def experiment_csv(record: ExperimentRecord, metrics: list[Metric]) -> str:
    """One line for each fact, parameter and measured value, every cell in quotes."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER)
    job = record.job
    facts = {
        "job": str(job.id),
        "model": f"{job.output_model_name} {job.output_version}",
        "status": job.state.status,
        "cause": job.failure.tag if job.failure else "",
        "remedy": job.failure.remedy if job.failure else "",
    }
    parts = (("fact", facts), ("digest", record.digests.json_dict()), ("environment", record.environment),
             ("parameter", record.parameters))  # fmt: skip
    for kind, tree in parts:
        for name, value in flat(tree):
            writer.writerow([in_spreadsheet(cell) for cell in (kind, name, "", value, "", "")])
    for metric in metrics:
        cells = (metric.name, metric.step, metric.value, metric.unit, metric.recorded_at.isoformat())
        writer.writerow(["metric", *(in_spreadsheet(cell) for cell in cells)])
    return out.getvalue()


def evaluation_csv(run: Evaluation) -> str:
    """One line a metric with its interval, then one a sample with its scores, every cell in quotes."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    metrics = run.result.metrics if run.result else {}
    names = [metric.value for metric in run.suite.metrics]
    model, benchmark = f"{run.model_name} {run.model_version}", f"{run.dataset_name} {run.dataset_version}"
    writer.writerow(["model", "benchmark", "metric", "value", "low", "high", "n"])
    for name, score in metrics.items():
        figures = (model, benchmark, name, score.value, score.low, score.high, score.n)
        writer.writerow([in_spreadsheet(cell) for cell in figures])
    writer.writerow([])
    writer.writerow(["row", "input", "expected", "actual", *names])
    for sample in run.result.samples if run.result else ():
        scores = (sample.scores.get(name) for name in names)
        cells = (sample.index, sample.input, sample.expected, sample.actual, *scores)
        writer.writerow([in_spreadsheet(cell) for cell in cells])
    return out.getvalue()


def comparison_csv(comparisons: Sequence[AdvisedComparison]) -> str:
    """One line a metric of each run beside the baseline, or why there is none, and the advice; every cell in quotes."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([
        "baseline", "model", "benchmark", "metric", "baseline value", "value", "difference", "low", "high", "pairs",
        "remark", "advice",
    ])  # fmt: skip
    for each in comparisons:
        names = [f"{run.model_name} {run.model_version}" for run in (each.first, each.second)]
        names.append(f"{each.second.dataset_name} {each.second.dataset_version}")
        advice = f"{each.recommendation.advice}: {'; '.join(each.recommendation.reasons)}"
        lines: list[tuple[object, ...]] = [
            (
                metric.metric,
                metric.first.value if metric.first else None,
                metric.second.value if metric.second else None,
                *((by.value, by.low, by.high, by.n) if (by := metric.difference) else (None,) * 4),
                metric.reason,
            )
            for metric in each.metrics
        ] or [("", *(None,) * 6, "; ".join(why.reason for why in each.differences))]
        for line in lines:
            writer.writerow([in_spreadsheet(cell) for cell in (*names, *line, advice)])
    return out.getvalue()


def review_csv(said: list[Said]) -> str:
    """One line a judgement, every cell in quotes; a column for each criterion."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    criteria = sorted({name for each in said for name in each.values})
    most = max((len(each.answers) for each in said), default=1)
    answers = [f"answer {number}" for number in range(1, most + 1)] if most > 1 else ["answer"]
    about = ("unit", "row", "input", "expected", *answers)
    writer.writerow([*about, "reviewer", "revision", "adjudication", "counts", *criteria, "reason", "at"])
    for each in said:
        shown = (each.unit, each.sample, each.input, each.expected, *each.answers)
        who = (each.reviewer, each.revision, each.adjudication, each.counts)
        cells = (*shown, *who, *map(each.values.get, criteria), each.reason, each.at.isoformat())
        writer.writerow([in_spreadsheet(cell) for cell in cells])
    return out.getvalue()
