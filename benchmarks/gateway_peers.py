"""The gateway against its peers: `python -m benchmarks.gateway_peers [--seconds 4] [--rounds 3] [--only NAME …]`.

LiteLLM's proxy (with a master key, which is its cheapest form: no database, no spending), MLflow's AI gateway and
Portkey (neither asks for a key here), and the Rust `vllm-router` (no keys, no templates), all in front of the same
model server as our gateway with a key, limits, a budget, prices and usage records, and as a bare pass-through.
Each is one worker on one core; the model server (nginx, a fixed answer) and the load (wrk, a closed loop) share the
other. Rounds are interleaved and medians told. It wants `wrk` and `nginx` (Debian: apt-get install wrk nginx-light) and
the peers that `make bench` installs into an environment of their own; whoever is missing is named, and left out.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.gateway import ANSWER, BODY, CHAT, prepared, running, serve_gateway, serve_pass_through
from llmops_resources import postgres
from tests.serving.servers import free_port

ROOT: Final = Path(__file__).parents[1]
PEERS: Final = ROOT / ".venv-bench-gateways"
PORTKEY: Final = ROOT / "benchmarks/portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
CONNECTIONS: Final = 64
MASTER: Final = "sk-bench"
ROUTED: Final = "/gateway/support/invocations"
#: How many times a peer's calls a second ours should be at least.
GOALS: Final = {"LiteLLM": 50.0, "Portkey": 8.0, "MLflow": 8.0, "vllm-router": 1.2, "pass-through": 0.6}


@dataclass(frozen=True)
class Contestant:
    """A running gateway: where it is asked, how, and its main process."""

    address: str
    path: str
    headers: Mapping[str, str]
    process: psutil.Process


@dataclass(frozen=True)
class Figures:
    """Of one round: calls a second, CPU microseconds a call, median latency in ms, memory in MB."""

    rate: float
    cpu: float
    p50: float
    memory: float


@contextmanager
def program(core: int, command: list[str], folder: Path, **environment: str) -> Iterator[psutil.Process]:
    """A program on one core, and everything it starts; ended when the block ends."""
    log = folder / f"{Path(command[0]).name}-{core}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=out, stderr=subprocess.STDOUT, cwd=folder,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
    try:
        yield psutil.Process(process.pid)
    finally:
        for each in _family(psutil.Process(process.pid)):
            each.kill()
        process.wait(10)


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


@contextmanager
def model_server(folder: Path) -> Iterator[str]:
    """nginx, which answers every chat with the same words."""
    port, models = free_port(), json.dumps({"object": "list", "data": [{"id": "support", "object": "model"}]})
    (folder / "nginx.conf").write_text(f"""
        worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; user root;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body;
          server {{
            listen 127.0.0.1:{port}; default_type application/json;
            location /v1/chat/completions {{ return 200 '{ANSWER.decode()}'; }}
            location /v1/models {{ return 200 '{models}'; }}
            location /health {{ return 200 'ok'; }}
          }}
        }}""")
    with program(1, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Contestant]:
    """LiteLLM's proxy with a master key."""
    config = {
        "model_list": [
            {
                "model_name": "support",
                "litellm_params": {"model": "openai/support", "api_base": f"{upstream}/v1", "api_key": "x"},
            }
        ],
        "general_settings": {"master_key": MASTER},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [str(PEERS / "bin/litellm"), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1",
               "--port", str(port), "--num_workers", "1", "--telemetry", "False"]  # fmt: skip
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    with program(0, command, folder, **quiet) as process:
        headers = {"authorization": f"Bearer {MASTER}"}
        yield Contestant(f"http://127.0.0.1:{port}", "/v1/chat/completions", headers, process)


@contextmanager
def mlflow(upstream: str, folder: Path) -> Iterator[Contestant]:
    """MLflow's AI gateway, which knows no keys."""
    model = {
        "provider": "openai",
        "name": "support",
        "config": {"openai_api_key": "x", "openai_api_base": f"{upstream}/v1"},
    }
    config = {"endpoints": [{"name": "support", "endpoint_type": "llm/v1/chat", "model": model}]}
    (folder / "mlflow.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [str(PEERS / "bin/mlflow"), "gateway", "start", "--config-path", str(folder / "mlflow.yaml"),
               "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
    paths = {"PATH": f"{PEERS / 'bin'}:{os.environ['PATH']}"}
    with program(0, command, folder, MLFLOW_DISABLE_TELEMETRY="true", **paths) as process:
        yield Contestant(f"http://127.0.0.1:{port}", ROUTED, {}, process)


@contextmanager
def portkey(upstream: str, folder: Path) -> Iterator[Contestant]:
    """Portkey's open-source gateway, which asks for no key of its own."""
    port = free_port()
    node = shutil.which("node") or str(ROOT / ".venv/bin/node")
    with program(0, [node, str(PORTKEY), f"--port={port}", "--headless"], folder) as process:
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{upstream}/v1",
            "authorization": "Bearer x",
        }
        yield Contestant(f"http://127.0.0.1:{port}", "/v1/chat/completions", headers, process)


@contextmanager
def vllm_router(upstream: str, folder: Path) -> Iterator[Contestant]:
    """The Rust router of vLLM, which only routes."""
    port, metrics = free_port(), free_port()
    command = [str(PEERS / "bin/python"), "-m", "vllm_router.launch_router", "--worker-urls", upstream, "--host",
               "127.0.0.1", "--port", str(port), "--policy", "round_robin", "--prometheus-port", str(metrics),
               "--log-level", "error"]  # fmt: skip
    with program(0, command, folder) as process:
        yield Contestant(f"http://127.0.0.1:{port}", "/v1/chat/completions", {}, process)


RIVALS: Final = {
    "LiteLLM": (litellm, PEERS / "bin/litellm"),
    "MLflow": (mlflow, PEERS / "bin/mlflow"),
    "Portkey": (portkey, PORTKEY),
    "vllm-router": (vllm_router, PEERS / "bin/vllm-router"),
}


def wait_until_it_answers(contestant: Contestant, seconds: float = 90) -> None:
    """Raises RuntimeError with the last answer when no chat is answered with 200 in time."""
    until, said = time.monotonic() + seconds, "nothing"
    headers = {"content-type": "application/json", **contestant.headers}
    while time.monotonic() < until:
        try:
            answer = httpx.post(
                contestant.address + contestant.path, content=_body(contestant), headers=headers, timeout=20
            )
        except httpx.TransportError as error:
            said = repr(error)
        else:
            if answer.status_code == 200 and "word word" in answer.text:
                return
            said = f"{answer.status_code} {answer.text[:500]}"
        time.sleep(0.5)
    raise RuntimeError(f"{contestant.path} never answered: {said}")


def _body(contestant: Contestant) -> bytes:
    """What is sent: the model by name, except where the route names it."""
    return BODY if contestant.path in {CHAT, ROUTED} else json.dumps({**json.loads(BODY), "model": "support"}).encode()


def measure(
    contestant: Contestant, folder: Path, seconds: float, *, told_why: bool = False, body: bytes | None = None
) -> Figures:
    """One round of wrk with a body, or the usual one. Raises RuntimeError when a call was not answered with 200.

    With `told_why` the error has those answers, for which wrk reads every answer in Lua and is slower.
    """
    headers = {"content-type": "application/json", **contestant.headers}
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    if told_why:
        lines.append('function response(s, h, b) if s ~= 200 then print("Non-2xx", s, b) end end')
    script = folder / "call.lua"
    script.write_text(
        "\n".join(['wrk.method = "POST"', f"wrk.body = {json.dumps((body or _body(contestant)).decode())}", *lines])
    )
    family = _family(contestant.process)
    before = sum(sum(each.cpu_times()[:2]) for each in family)
    told = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "20s", "--latency",
         "-s", str(script), contestant.address + contestant.path],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    cpu = sum(sum(each.cpu_times()[:2]) for each in family) - before
    calls = int(_found(r"(\d+) requests in", told))
    if "Non-2xx" in told or not calls:
        raise RuntimeError(told)
    p50 = _found(r"50%\s+([\d.]+)(us|ms|s)", told)
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}[_found(r"50%\s+[\d.]+(us|ms|s)", told)]
    memory = sum(each.memory_info().rss for each in family) / 2**20
    return Figures(float(_found(r"Requests/sec:\s+([\d.]+)", told)), cpu / calls * 1e6, float(p50) * scale, memory)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"no {pattern} in what wrk said:\n{text}")
    return match[1]


@contextmanager
def contestants(upstream: str, folder: Path, names: set[str]) -> Iterator[dict[str, Contestant]]:
    """Everybody who is there, running."""
    with ExitStack() as stack:
        settings, secret = prepared(folder, upstream)
        stack.callback(postgres.stop, folder / "pg")
        ours, process = stack.enter_context(running(serve_gateway, settings))
        bare, bare_process = stack.enter_context(running(serve_pass_through, upstream))
        found = {
            "ours": Contestant(ours, CHAT, {"authorization": f"Bearer {secret}"}, process),
            "pass-through": Contestant(bare, CHAT, {}, bare_process),
        }
        for name, (start, needs) in RIVALS.items():
            if name not in names:
                continue
            if not needs.exists():
                print(f"{name} is not installed ({needs.relative_to(ROOT)}): left out")
                continue
            found[name] = stack.enter_context(start(upstream, folder))
        for contestant in found.values():
            wait_until_it_answers(contestant)
        yield found


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="*", choices=sorted(RIVALS), default=sorted(RIVALS))
    chosen = arguments.parse_args()
    missing = [name for name in ("wrk", "nginx", "taskset") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} missing (Debian: apt-get install wrk nginx-light util-linux)")
    rounds: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(model_server(folder))
        found = stack.enter_context(contestants(upstream, folder, set(chosen.only)))
        for contestant in found.values():
            measure(contestant, folder, 2.0, told_why=True)  # to warm up
        for _ in range(chosen.rounds):
            for who, contestant in found.items():
                rounds.setdefault(who, []).append(measure(contestant, folder, chosen.seconds))
    _tell(rounds)


def _tell(rounds: Mapping[str, list[Figures]]) -> None:
    def median(name: str, figure: str) -> float:
        return statistics.median(getattr(each, figure) for each in rounds[name])

    print(f"{'':<14} calls/s  ours is  goal    CPU us/call   p50 ms   memory MB")
    for name in rounds:
        ratio = median("ours", "rate") / median(name, "rate")
        goal = "" if name == "ours" else f">= {GOALS[name]:g}x"
        print(
            f"{name:<14} {median(name, 'rate'):7.0f}  {ratio:6.2f}x  {goal:<8}{median(name, 'cpu'):10.0f}"
            f"  {median(name, 'p50'):8.1f}  {median(name, 'memory'):8.0f}"
        )
    missed = [n for n, g in GOALS.items() if n in rounds and median("ours", "rate") / median(n, "rate") < g]
    print(f"goals missed: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
