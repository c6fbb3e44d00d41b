"""An MLflow server as its REST API (2.0) shows it: experiments, runs, and batches within its limits.

Limits are those of MLflow's REST API reference: 1,000 entities a batch, of which 100 parameters and 100 tags; keys of
250 characters; values of 6,000 (parameters) and 5,000 (tags) characters. Names of metrics that MLflow would read as an
unclean path are written with `:` for `/`, which none of our own names has.
"""

import base64
import json
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from yarl import URL

from llmops_resources import outbound
from llmops_resources.errors import InvalidInput, NotFound, Unavailable, UpstreamFailed
from llmops_resources.settings import Settings
from llmops_resources.training.experiments import Metric
from llmops_resources.values import Value

SECONDS: Final = 10.0
MAX_METRICS: Final = 1000
MAX_PAIRS: Final = 100
MAX_KEY: Final = 250
MAX_PARAM: Final = 6000
MAX_TAG: Final = 5000
API: Final = "/api/2.0/mlflow/"
ID_TAG: Final = "llmops.experiment_id"
_REFUSED: Final = "See the MLflow server's log, and MLFLOW_TRACKING_URI."


class Description(Value):
    """What a run is called and made with; `job_id` is the tag it is found by."""

    job_id: str
    experiment: str
    name: str
    user: str
    started_at: datetime
    params: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str], ...]


class Tracking:
    """The server of MLFLOW_TRACKING_URI. Every method may raise what `outbound.post_json` does.

    UpstreamFailed: the server refused a request; NotFound: it knows no such run; Unavailable: it answered 429 or 5xx.
    No message holds the address's user name or password, or anything that the server said but its error code.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            given = URL(settings.mlflow_tracking_uri or "")
        except ValueError:  # whose text holds the address, and with it a password
            raise InvalidInput(
                "MLFLOW_TRACKING_URI cannot be read as an address", remedy="Set it to https://mlflow.example.com."
            ) from None
        self._url = str(given.with_user(None)).rstrip("/")
        self._allowed: Collection[str] = settings.outbound_allowed_hosts
        self._headers: Mapping[str, str] = _authorization(given, settings.mlflow_tracking_token)

    def run_of(self, description: Description) -> str:
        """The run with the job's tag, made when there is none; and its experiment likewise."""
        experiment_id = self._experiment(description.experiment)
        sought = {
            "experiment_ids": [experiment_id],
            "filter": f"tags.`{ID_TAG}` = '{description.job_id}'",
            "max_results": 1,
        }
        for run in self._post("runs/search", sought).get("runs", ()):
            return _text(run, "info", "run_id")
        made = {
            "experiment_id": experiment_id,
            "run_name": description.name,
            "start_time": _milliseconds(description.started_at),
            "tags": [{"key": ID_TAG, "value": description.job_id}, {"key": "mlflow.user", "value": description.user}],
        }
        return _text(self._post("runs/create", made), "run", "info", "run_id")

    def describe(self, run_id: str, description: Description) -> None:
        """Log the parameters and tags; the same again changes nothing."""
        for params in _slices([_pair(*pair, MAX_PARAM) for pair in description.params]):
            self._post("runs/log-batch", {"run_id": run_id, "params": params})
        for tags in _slices([_pair(*pair, MAX_TAG) for pair in description.tags]):
            self._post("runs/log-batch", {"run_id": run_id, "tags": tags})

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Log at most MAX_METRICS values; one with the same name, step, time and value again changes nothing."""
        points = [
            {"key": metric_name(each.name), "value": each.value, "step": each.step,
             "timestamp": _milliseconds(each.recorded_at)}
            for each in metrics
        ]  # fmt: skip
        self._post("runs/log-batch", {"run_id": run_id, "metrics": points})

    def update(self, run_id: str, status: str, ended_at: datetime | None) -> None:
        """Set a run's status: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED, and when it ended."""
        ended = {} if ended_at is None else {"end_time": _milliseconds(ended_at)}
        self._post("runs/update", {"run_id": run_id, "status": status, **ended})

    def _experiment(self, name: str) -> str:
        asked = str(URL(f"{self._url}{API}experiments/get-by-name").with_query(experiment_name=name))
        reply = outbound.get(asked, allowed_hosts=self._allowed, headers=self._headers, seconds=SECONDS)
        try:
            return _text(_read(reply), "experiment", "experiment_id")
        except NotFound:
            return _text(self._post("experiments/create", {"name": name}), "experiment_id")

    def _post(self, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _read(
            outbound.post_json(
                f"{self._url}{API}{verb}", body, allowed_hosts=self._allowed, headers=self._headers, seconds=SECONDS
            )
        )


def metric_name(name: str) -> str:
    """A metric's name as MLflow takes it: it refuses names that are not a clean relative path."""
    clean = posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/"))
    return name if clean else ":" + name.replace("/", ":")


def _authorization(given: URL, token: str | None) -> Mapping[str, str]:
    if token:
        return {"Authorization": f"Bearer {token}"}
    if given.raw_user is None:
        return {}
    pair = f"{unquote(given.raw_user)}:{unquote(given.raw_password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _read(reply: outbound.Reply) -> dict[str, Any]:
    """The answer's object. What a server says of an error may hold anything, so only a code's letters are kept."""
    try:
        body = json.loads(reply.body or b"{}")
    except ValueError:
        body = None
    if reply.status == 429 or reply.status >= 500:
        raise Unavailable(f"the MLflow server answered with status {reply.status}", remedy="It is asked again later.")
    code = str(body.get("error_code", "")) if isinstance(body, dict) else ""
    code = code if code.replace("_", "").isalpha() and len(code) < 64 else "no error code"
    if reply.status == 404 and code == "RESOURCE_DOES_NOT_EXIST":
        raise NotFound("the MLflow server does not know it", remedy="It is made anew.")
    if reply.status != 200 or not isinstance(body, dict):
        raise UpstreamFailed(f"the MLflow server answered with status {reply.status}, {code}", remedy=_REFUSED)
    return body


def _text(body: Any, *path: str) -> str:
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    if not isinstance(body, str) or not 0 < len(body) <= 64:
        raise UpstreamFailed(f"the MLflow server's answer has no {'.'.join(path)}", remedy=_REFUSED)
    return body


def _pair(key: str, value: str, longest: int) -> dict[str, str]:
    return {"key": key[:MAX_KEY], "value": value[:longest]}


def _slices(pairs: Sequence[dict[str, str]]) -> Iterator[Sequence[dict[str, str]]]:
    return (pairs[start : start + MAX_PAIRS] for start in range(0, len(pairs), MAX_PAIRS))


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
