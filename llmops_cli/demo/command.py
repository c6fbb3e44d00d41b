"""The walk itself: one bar a step, then the exchange, the figures, and what they do and do not show."""

import time

from rich.markup import escape

from llmops_cli import lifecycle
from llmops_cli.api import Api
from llmops_cli.demo import steps
from llmops_cli.demo.data import BENCHMARK, CORPUS, DATASETS, TRAIN, DemoData
from llmops_cli.output import console
from llmops_cli.progress import bar
from llmops_cli.rooms.chat import ask, ask_streaming
from llmops_cli.rooms.evaluations import show_figures
from llmops_resources.settings import Settings

ROUTE = "python-helper"
BASE_MODEL, FINE_TUNED_MODEL = "python_base", "python_helper"
#: In the benchmark's wordings, which no training set has.
FIRST_QUESTION = "Could you describe what ZeroDivisionError means?"
SECOND_QUESTION = "What would I use sorted for?"


def run_demo(settings: Settings) -> None:
    """Start the platform if need be and walk from raw data to a chat. Raises what the steps raise."""
    began = time.monotonic()
    state = lifecycle.start_detached(settings)
    with Api(state.console_url) as api:
        evaluation = walk(api, DemoData(settings.home / "cache" / "demo"))
        converse(api)
        console.rule("How good is it?")
        show_figures(evaluation)
    console.print(
        "\n[bold]What this shows:[/] facts memorised from the training set and found again under wordings that were "
        "never trained on, by a model of about a million parameters trained here on the CPU. It knows nothing else: "
        "ask about anything that is not in its training set and it will make something up."
    )
    console.print(f"\n[bold green]Done in {time.monotonic() - began:.0f} seconds.[/]  Console: {state.console_url}")
    console.print(f"Asset graph: {state.console_url}/dagster   Stop with: llmops down")


def walk(api: Api, data: DemoData) -> dict[str, object]:
    """From the data to a healthy endpoint; the evaluation."""
    with bar("Upload four data sets") as shown:
        entries = steps.upload_all(api, data, shown)
        shown.done(", ".join(f"{entry['sizeBytes'] / 1e6:.1f} MB" for entry in entries.values()))
    for dataset in DATASETS:
        with bar(f"Validate, approve {dataset.name}") as shown:
            entries[dataset.name] = steps.validate(api, entries[dataset.name], shown)
    with bar("Train a base model from scratch") as shown:
        body = {
            "jobType": "from_scratch", "datasetId": entries[CORPUS.name]["id"], "modelId": None,
            "outputModelName": BASE_MODEL, "useGpu": False, "hyperparameters": data.hyperparameters("pretrain"),
        }  # fmt: skip
        base = steps.train(api, body, shown)
    with bar("Approve the base model") as shown:
        base = steps.approve_model(api, base, "the demo's base model")
        shown.done(f"{base['name']} {base['version']} {base['digest'][:19]}…")
    with bar("Fine-tune it on questions") as shown:
        body = {
            "jobType": "finetune", "datasetId": entries[TRAIN.name]["id"], "modelId": base["id"],
            "outputModelName": FINE_TUNED_MODEL, "useGpu": False, "hyperparameters": data.hyperparameters("finetune"),
            "autoEvaluate": {"datasetId": entries[BENCHMARK.name]["id"]},
        }  # fmt: skip
        model = steps.train(api, body, shown)
    with bar("Evaluate on the benchmark") as shown:
        evaluation = steps.evaluated(api, model, entries[BENCHMARK.name], shown)
    with bar("Approve the fine-tuned model") as shown:
        model = steps.approve_model(api, model, "the demo's evaluation, read")
        shown.done(f"{model['name']} {model['version']} {model['digest'][:19]}…")
    with bar("Deploy it to dev") as shown:
        steps.deploy(api, model, ROUTE, shown)
    found: dict[str, object] = evaluation
    return found


def converse(api: Api) -> None:
    """One question as JSON, one as a stream."""
    console.rule(f"POST /llm-ops/v1/serve/{ROUTE}/chat")
    answer = ask(api, ROUTE, [{"role": "user", "content": FIRST_QUESTION}], max_tokens=64, temperature=0)
    console.print(f"[bold]you>[/]   {FIRST_QUESTION}")
    console.print(f"[bold]model>[/] {escape(answer['choices'][0]['message']['content'])}")
    usage = answer["usage"]
    console.print(f"[dim]{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out[/]")
    console.print(f"[bold]you>[/]   {SECOND_QUESTION}  [dim](streaming)[/]\n[bold]model>[/] ", end="")
    question = [{"role": "user", "content": SECOND_QUESTION}]
    ask_streaming(api, ROUTE, question, lambda text: console.print(escape(text), end=""), max_tokens=64, temperature=0)
    console.print()
