"""The local runtime beside `transformers serve`, with and without its continuous batching, on the same model folder.

Each server is a process of its own with one CPU thread. So many chats run at once, each a different question and a
greedy answer of a fixed most length, streamed; when one ends the next begins. Tokens a CPU second are those of the
server's process, so that other work on the machine changes little; the first token is what a client waits for the first
piece of text; memory is the most that was resident (VmHWM). The servers must give the same answers.

    python -m benchmarks.local_runtime [--model FOLDER] [--chats 1 8 32] [--rounds 3] [--tokens 48]
        [--servers ours serve batching] [--hidden 128 --layers 4]
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from llmops_assets.training.models import decoder
from llmops_assets.training.tokens import prepare_for_chat, train_tokenizer
from llmops_resources.training.architecture import Architecture

TICK = os.sysconf("SC_CLK_TCK")
SERVE = [str(Path(sys.executable).with_name("transformers")), "serve"]
WORDS = ("What follows {0}?", "Say what number {0} is called, and why it is {0}.", "Is {0} more than {1}? Explain it.")


@dataclass
class Load:
    """What one concurrency did."""

    tokens: int = 0
    cpu: float = 0.0
    first: list[float] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    wall: float = 0.0


@dataclass(frozen=True)
class Server:
    process: "subprocess.Popen[bytes]"
    port: int
    model: str

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def peak(self) -> int:
        """Most resident bytes so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def write_model(folder: Path, hidden: int, layers: int) -> Path:
    """A Llama-style model with random weights, and a tokenizer trained on this project's sources."""
    torch.manual_seed(3)
    sources = sorted(Path("llmops_assets").rglob("*.py"))
    tokenizer = train_tokenizer([path.read_text() for path in sources], 2048, 512)
    prepare_for_chat(tokenizer)
    shape = Architecture(hidden_size=hidden, layers=layers, context_length=512)  # type: ignore[call-arg]
    ends: Any = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model = LlamaForCausalLM(decoder(shape, initializer_range=0.2, **ends))
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    print(f"{model.num_parameters():,} parameters")
    return folder


@contextlib.contextmanager
def serving(kind: str, model: Path, log: Path) -> Iterator[Server]:
    """A server of this kind, warm."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if kind == "ours":
        name = "model"
        command = [sys.executable, "-m", "llmops_assets.serving.runtime", "--model", str(model)]
        command += ["--served-model-name", name, "--port", str(port), "--threads", "1"]
    else:
        name = str(model)
        command = [*SERVE, name, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
        command += ["--continuous-batching", "--attn-implementation", "sdpa"] if kind == "batching" else []
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | quiet, stdout=output, stderr=output)
    server = Server(process, port, name)
    try:
        _wait(server, "/ready" if kind == "ours" else "/health", log)
        started = time.monotonic() - began
        asyncio.run(_load(server, chats=2, rounds=1, tokens=4, seed=900))  # what is set up lazily is now
        print(f"{kind}: ready after {started:.1f} s, {server.peak / 2**20:.0f} MiB")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Server, path: str, log: Path) -> None:
    for _ in range(2400):
        if server.process.poll() is not None:
            raise SystemExit(f"the server ended: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=2):
            return
        time.sleep(0.1)
    raise SystemExit("the server did not become ready")


async def _load(server: Server, chats: int, rounds: int, tokens: int, seed: int) -> Load:
    load = Load()
    questions = iter([_question(seed + n) for n in range(chats * rounds)])
    cpu, began = server.cpu, time.monotonic()
    await asyncio.gather(*(_client(server, questions, tokens, load) for _ in range(chats)))
    load.cpu, load.wall = server.cpu - cpu, time.monotonic() - began
    return load


def _question(number: int) -> str:
    return WORDS[number % len(WORDS)].format(number, number * 7 % 100)


async def _client(server: Server, questions: Iterator[str], tokens: int, load: Load) -> None:
    for question in questions:
        await _chat(server, question, tokens, load)


async def _chat(server: Server, question: str, tokens: int, load: Load) -> None:
    body = json.dumps({
        "model": server.model, "messages": [{"role": "user", "content": question}], "max_tokens": tokens,
        "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
    }).encode()  # fmt: skip
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    began, text, used = time.monotonic(), "", 0
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + body)
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise SystemExit(f"the server failed: {chunk}")
        piece = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        if piece and not text:
            load.first.append(time.monotonic() - began)
        text += piece
        used = (chunk.get("usage") or {}).get("completion_tokens", used)
    writer.close()
    assert used, f"no usage for {question!r}"
    load.answers[question] = text
    load.tokens += used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder with a chat template; without it one is made")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--chats", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3, help="chats one after another in each of the running ones")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--servers", nargs="+", default=["ours", "serve", "batching"])
    arguments = parser.parse_args()
    found: dict[tuple[str, int], Load] = {}
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.model or write_model(Path(scratch) / "model", arguments.hidden, arguments.layers)
        for kind in arguments.servers:
            with serving(kind, folder.resolve(), Path(scratch) / f"{kind}.log") as server:
                for chats in arguments.chats:
                    load = asyncio.run(_load(server, chats, arguments.rounds, arguments.tokens, seed=1000))
                    found[kind, chats], peaks[kind] = load, server.peak
                    spent = f"{load.tokens / load.cpu:7,.0f} tokens per CPU second"
                    first = 1000 * statistics.median(load.first)
                    told = f"{spent}, {load.tokens / load.wall:7,.0f} a second, first token {first:7,.1f} ms"
                    print(f"  {chats:3} chats: {told}")
                print(f"  most memory {peaks[kind] / 2**20:,.0f} MiB")
    _compare(found, peaks, arguments.servers, arguments.chats)


def _compare(found: dict[tuple[str, int], Load], peaks: dict[str, int], servers: list[str], counts: list[int]) -> None:
    for other in servers:
        if other == "ours" or "ours" not in servers:
            continue
        print(f"ours / {other}: {peaks['ours'] / peaks[other]:.2f}x its memory")
        for chats in counts:
            own, theirs = found["ours", chats], found[other, chats]
            rate = own.tokens / own.cpu / (theirs.tokens / theirs.cpu)
            wait = statistics.median(own.first) / statistics.median(theirs.first)
            same = sum(own.answers[question] == text for question, text in theirs.answers.items())
            told = f"{rate:.2f}x its tokens per CPU second, {wait:.3f}x its first-token latency"
            print(f"  {chats:3} chats: {told}, {same} of {len(theirs.answers)} answers the same")


if __name__ == "__main__":
    main()
