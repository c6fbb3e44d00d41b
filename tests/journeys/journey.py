"""The journey from an upload to a chat in small: tiny data, a tiny model, every real part."""

import io
import json
from collections.abc import Callable
from typing import Any

import polars as pl

from tests.journeys.running import RunningPlatform, wait_for

QUESTIONS = [
    {"question": f"{ask} {word}?", "answer": f"The word {word} is number {number}."}
    for number, word in enumerate(["apple", "pear", "plum", "fig", "lime", "date", "kiwi", "peach"])
    for ask in ("What is", "Tell me about", "Explain", "Do you know")
]
ARCHITECTURE = {"hiddenSize": 32, "layers": 2, "heads": 2, "vocabSize": 384, "contextLength": 64}
PRETRAIN = {"architecture": ARCHITECTURE, "textColumn": "text", "maxTokens": 12_000, "batchSize": 4}
FINETUNE = {"promptColumn": "question", "answerColumn": "answer", "epochs": 2, "batchSize": 4}
SOON = {"backoffSeconds": 1}  # a killed run is tried again at once, where a user would wait half a minute
CARD = {"purpose": "a journey", "scope": "tests", "contact": "tests", "license": "PSF-2.0"}


def corpus() -> bytes:
    """A Parquet file of a few hundred sentences."""
    rows = [f"Sentence {n} speaks about {q['question']} and says: {q['answer']}" for n in range(12) for q in QUESTIONS]
    sink = io.BytesIO()
    pl.DataFrame({"text": rows}).write_parquet(sink)
    return sink.getvalue()


def pairs() -> bytes:
    """JSON lines of questions and answers."""
    return "".join(json.dumps(pair) + "\n" for pair in QUESTIONS).encode()


def benchmark() -> bytes:
    """A CSV file of held-out questions."""
    return ("question,answer\n" + "".join(f"{q['question']},{q['answer']}\n" for q in QUESTIONS[::3])).encode()


class Journey:
    """The steps; each may be repeated, and finds what was done before."""

    def __init__(self, platform: RunningPlatform, disturb: Callable[[str], None] = lambda _step: None) -> None:
        self.platform = platform
        self.disturb = disturb

    def walk(self) -> dict[str, Any]:
        """From nothing to an answer; what was made on the way."""
        data = {
            "corpus": self.upload("corpus", "corpus.parquet", corpus()),
            "pairs": self.upload("pairs", "pairs.jsonl", pairs()),
            "benchmark": self.upload("benchmark", "benchmark.csv", benchmark(), benchmark=True),
        }
        self.disturb("validate")
        approved = {name: self.validated_and_approved(entry) for name, entry in data.items()}
        base = self.train("tiny_base", "from_scratch", approved["corpus"], PRETRAIN)
        self.approve_model(base)
        automatic = {"datasetId": approved["benchmark"]["id"]}
        more = {"modelId": base["id"], "autoEvaluate": automatic}
        tuned = self.train("tiny_chat", "finetune", approved["pairs"], FINETUNE, **more)
        evaluation = self.evaluated(tuned)
        self.approve_model(tuned)
        endpoint = self.deploy(tuned)
        answer = self.chat("tiny-chat")
        return {
            "datasets": approved, "base": base, "tuned": tuned, "evaluation": evaluation, "endpoint": endpoint,
            "answer": answer,
        }  # fmt: skip

    def upload(self, name: str, file: str, content: bytes, *, benchmark: bool = False) -> Any:
        """Create and upload; repeating both is harmless."""
        body = {"name": name, "version": "1", "ownerTeam": "tests", "benchmark": benchmark}
        entry = self.platform.post("/catalog/datasets", body, headers={"Idempotency-Key": f"create-{name}"})
        self.disturb("upload")
        return self.platform._send("POST", f"/catalog/datasets/{entry['id']}/upload", files={"files": (file, content)})

    def validated_and_approved(self, entry: Any) -> Any:
        """Wait for the report, submit, approve by digest."""
        path = f"/catalog/datasets/{entry['id']}"
        report = self.platform.finished(f"{path}/validation")["report"]
        assert report["passed"], report["reasons"]
        self.platform.post(f"{path}/submit")
        decision = {"decision": "approve", "digest": entry["digest"]}
        return self.platform.post(f"{path}/versions/1/approve", decision)

    def train(self, name: str, job_type: str, dataset: Any, recipe: dict[str, Any], **more: Any) -> Any:
        """Submit once, wait; the model version."""
        body = {
            "jobType": job_type, "datasetId": dataset["id"], "outputModelName": name, "useGpu": False,
            "hyperparameters": recipe, "retryPolicy": SOON, **more,
        }  # fmt: skip
        job = self.platform.post("/training/jobs", body, headers={"Idempotency-Key": f"train-{name}"})
        self.disturb("train")
        self.platform.finished(f"/training/jobs/{job['id']}")
        return self.platform.get(f"/catalog/models/{job['outputVersionId']}")

    def evaluated(self, model: Any) -> Any:
        """Wait for the evaluation that the training job asked for."""

        def requested() -> Any:
            found = self.platform.get("/evaluation/runs", modelId=model["id"])
            return found[0] if found else None

        run = wait_for(requested, 60, "the automatic evaluation")
        self.disturb("evaluate")
        return self.platform.finished(f"/evaluation/runs/{run['id']}")

    def approve_model(self, model: Any) -> None:
        """Fill the card's gaps, submit, approve by digest."""
        path = f"/catalog/models/{model['id']}"
        if model["status"] == "draft":
            self.platform._send("PATCH", path, json={"metadata": {**CARD, **model["metadata"], "contact": "tests"}})
        self.platform.post(f"{path}/submit")
        self.disturb("approve")
        decision = {"decision": "approve", "digest": model["digest"]}
        self.platform.post(f"{path}/versions/{model['version']}/approve", decision)

    def deploy(self, model: Any) -> Any:
        """Deploy and wait until healthy."""
        body = {"modelId": model["id"], "environment": "dev", "route": "tiny-chat"}
        endpoint = self.platform.post("/serving/endpoints", body, headers={"Idempotency-Key": "deploy"})
        self.disturb("deploy")

        def healthy() -> Any:
            now = self.platform.get(f"/serving/endpoints/{endpoint['id']}")
            history = self.platform.get(f"/serving/endpoints/{endpoint['id']}/deployments")
            done = now["status"] == "healthy" and history[0]["state"]["status"] == "succeeded"
            return now if done else None

        return wait_for(healthy, 120, "a healthy endpoint")

    def chat(self, route: str) -> Any:
        """One question."""
        self.disturb("chat")
        body = {"messages": [{"role": "user", "content": "What is apple?"}], "max_tokens": 12, "temperature": 0}
        return self.platform.post(f"/serve/{route}/chat", body)
