"""An MLflow tracking server as far as its REST API is used: strict about limits, forgetful or broken on request."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any]]
API = "/api/2.0/mlflow/"


class Refused(Exception):
    """A request that MLflow would refuse."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.answer: Answer = (status, {"error_code": code, "message": "no"})


def need(held: bool) -> None:
    if not held:
        raise Refused(400, "INVALID_PARAMETER_VALUE")


class MlflowServer:
    """`faults` are used up one a request: a status, `before` (cut without doing it) or `after` (done, then cut)."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.faults: list[int | str] = []
        self.headers: list[dict[str, str]] = []
        self.refused: list[str] = []
        self.requests: list[str] = []
        self._serve(0)

    def _serve(self, port: int) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any]) -> None:
                outer.headers.append(dict(self.headers.items()))
                fault = outer.faults.pop(0) if outer.faults else None
                if fault == "before":
                    return
                verb = urlsplit(self.path).path.removeprefix(API)
                status, reply = (fault, {}) if isinstance(fault, int) else outer.answer(self.command, verb, body)
                if fault == "after":
                    return
                content = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
                """Keep the test's output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def start_again(self) -> None:
        self._serve(self.server.server_port)

    def answer(self, method: str, verb: str, body: dict[str, Any]) -> Answer:
        verbs: dict[tuple[str, str], Callable[[dict[str, Any]], dict[str, Any]]] = {
            ("GET", "experiments/get-by-name"): self._by_name,
            ("POST", "experiments/create"): self._create,
            ("POST", "runs/search"): self._search,
            ("POST", "runs/create"): self._create_run,
            ("POST", "runs/log-batch"): self._log_batch,
            ("POST", "runs/update"): self._update,
        }
        self.requests.append(verb)
        try:
            if (method, verb) not in verbs:
                raise Refused(404, "ENDPOINT_NOT_FOUND")
            return 200, verbs[method, verb](body)
        except Refused as refusal:
            if refusal.answer[0] == 400:
                self.refused.append(f"{verb} {json.dumps(body)[:500]}")
            return refusal.answer

    def _by_name(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["experiment_name"] not in self.experiments:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST")
        return {"experiment": {"experiment_id": self.experiments[body["experiment_name"]]}}

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        need(body["name"] not in self.experiments)
        self.experiments[body["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[body["name"]]}

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        need(set(body["experiment_ids"]) <= set(self.experiments.values()))
        key, _, value = body["filter"].removeprefix("tags.").partition(" = ")
        key, value = key.strip("`"), value.strip("'")
        found = [run for run in self.runs.values() if run["tags"].get(key) == value]
        shown = [{"info": {"run_id": run["id"]}} for run in found if run["experiment"] in body["experiment_ids"]]
        return {"runs": shown} if shown else {}

    def _create_run(self, body: dict[str, Any]) -> dict[str, Any]:
        need(body["experiment_id"] in self.experiments.values() and isinstance(body["start_time"], int))
        run_id = f"run{len(self.runs) + 1}"
        self.runs[run_id] = {
            "id": run_id, "experiment": body["experiment_id"], "tags": _pairs(body["tags"], 5000), "params": {},
            "metrics": set(), "status": "RUNNING", "end": None,
        }  # fmt: skip
        return {"run": {"info": {"run_id": run_id}}}

    def _log_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        run = self._run(body)
        metrics, params, tags = (body.get(kind, []) for kind in ("metrics", "params", "tags"))
        need(len(params) <= 100 and len(tags) <= 100 and len(metrics) + len(params) + len(tags) <= 1000)
        for point in metrics:
            need(isinstance(point["timestamp"], int) and isinstance(point["step"], int))
            parts = point["key"].split("/")
            need(len(point["key"]) <= 250 and not {"", ".", ".."} & set(parts) and not point["key"].startswith(".."))
        given = _pairs(params, 6000)
        need(all(run["params"].get(key, value) == value for key, value in given.items()))
        run["params"] |= given
        run["tags"] |= _pairs(tags, 5000)
        run["metrics"] |= {(each["key"], each["step"], each["timestamp"], each["value"]) for each in metrics}
        return {}

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        need(body["status"] in {"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})
        self._run(body).update(status=body["status"], end=body.get("end_time"))
        return {"run_info": {}}

    def _run(self, body: dict[str, Any]) -> dict[str, Any]:
        need("run_id" in body)
        if body["run_id"] not in self.runs:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST")
        return self.runs[body["run_id"]]


def _pairs(given: list[dict[str, str]], longest: int) -> dict[str, str]:
    for pair in given:
        need(isinstance(pair["value"], str) and 0 < len(pair["key"]) <= 250 and len(pair["value"]) <= longest)
    need(len({pair["key"] for pair in given}) == len(given))
    return {pair["key"]: pair["value"] for pair in given}
