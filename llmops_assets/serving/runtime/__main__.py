"""`python -m llmops_assets.serving.runtime --model DIR --served-model-name NAME --port N`.

Exit status: 0 ended by SIGTERM or SIGINT after the running answers, 1 the model cannot be loaded or the port is taken
(why is on stderr).
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

import uvicorn

from llmops_assets.serving.runtime import confinement
from llmops_assets.serving.runtime.app import build_app
from llmops_assets.serving.runtime.engine import Engine, Limits


def main() -> int:
    """Serves until it is told to end."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if not (arguments.model / "config.json").is_file():
        print(f"there is no model in {arguments.model}: config.json is missing", file=sys.stderr)
        return 1
    confinement.confine(arguments.memory)
    try:
        listener = confinement.listening(arguments.host, arguments.port, arguments.stall)
    except OSError as error:
        print(f"{arguments.host}:{arguments.port} cannot be listened on: {error}", file=sys.stderr)
        return 1
    failures: list[Exception] = []

    def fail(error: Exception) -> None:
        failures.append(error)
        print(f"the model in {arguments.model} cannot be loaded: {error}", file=sys.stderr, flush=True)
        server.should_exit = True

    limits = Limits(arguments.slots, arguments.queue, arguments.threads, arguments.memory)
    engine = Engine(arguments.model, arguments.digest, limits, fail)
    app = build_app(engine, arguments.served_model_name)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=arguments.drain,
            timeout_keep_alive=30, backlog=512, ws="none",
        )
    )  # fmt: skip
    # uvicorn finishes the running answers and then raises the signal again, for whoever handled it before: that is us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    server.run(sockets=[listener])
    return 1 if failures or not server.started else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve one model folder with an OpenAI-compatible API.")
    parser.add_argument("--model", type=Path, required=True, help="folder with config.json, weights and tokenizer")
    parser.add_argument("--digest", help="what the folder's files must have, as the catalog names it")
    parser.add_argument("--served-model-name", required=True, help="what callers write in `model`")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--slots", type=int, default=32, help="answers in the model at once")
    parser.add_argument("--queue", type=int, default=256, help="answers that may wait for a slot")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the model; 0: as many as cores")
    parser.add_argument("--memory", type=int, help="most bytes of memory; more is refused to the process")
    parser.add_argument("--drain", type=int, default=10, help="seconds for running answers after SIGTERM")
    parser.add_argument("--stall", type=float, default=60, help="seconds a client may read nothing")
    return parser.parse_args()


def _end(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
