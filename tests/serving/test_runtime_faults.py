"""The local runtime when something goes wrong around it: signals, clients that hang, files that change, no memory."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from llmops_assets.serving.runtime.loading import digest_of
from tests.serving.servers import figures, free_port, idle, served, start
from tests.tiny_model import write_tiny_model

ASK = {"model": "tiny", "prompt": "What", "stream": True, "max_tokens": 1500}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), context_length=4096)


def chunks(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line[6:])


def test_sigterm_lets_the_running_answer_end_takes_no_new_one_and_exits_with_0(folder: Path) -> None:
    with (
        served(folder) as (process, url),
        httpx.stream("POST", f"{url}/v1/completions", json=ASK, timeout=60) as answer,
    ):
        found = chunks(answer)
        first = next(found)
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        refused = False
        while not refused and time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/health")
            except httpx.TransportError:
                refused = True
        assert refused
        *_, last = [first, *found]
        assert last["choices"][0]["finish_reason"] in {"stop", "length"}
        assert process.wait(60) == 0


def test_sigterm_ends_an_answer_that_takes_longer_than_the_drain(folder: Path) -> None:
    ask = ASK | {"max_tokens": 4000, "n": 16, "temperature": 1.0}
    with (
        served(folder, "--drain", "1") as (process, url),
        httpx.stream("POST", f"{url}/v1/completions", json=ask, timeout=60) as answer,
    ):
        next(chunks(answer))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert time.monotonic() - began < 30  # all 64,000 tokens would take minutes


def test_a_killed_server_leaves_its_address_free_and_answers_the_same_when_started_again(folder: Path) -> None:
    port, answers = free_port(), []
    for number in (signal.SIGKILL, signal.SIGTERM):
        with served(folder, port=port) as (process, url):
            body = {"model": "tiny", "prompt": "What", "max_tokens": 20}
            answers.append(httpx.post(f"{url}/v1/completions", json=body).json()["choices"][0]["text"])
            process.send_signal(number)
            process.wait(60)
    assert answers[0] == answers[1]


def connections(process: "subprocess.Popen[str]") -> int:
    found = [each for each in psutil.net_connections(kind="tcp") if each.pid == process.pid]
    return sum(each.status == psutil.CONN_ESTABLISHED for each in found)


@pytest.mark.slow
def test_clients_that_stop_reading_hold_up_nobody_and_are_cut_off(folder: Path) -> None:
    body = json.dumps(ASK | {"n": 8}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with served(folder, "--stall", "2", "--slots", "40") as (process, url), contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
            client.sendall(head + body)
        while figures(url)["requests_total"] < 24:
            time.sleep(0.05)
        answer = httpx.post(f"{url}/v1/completions", json=ASK | {"stream": False, "max_tokens": 10}, timeout=30)
        assert answer.status_code == 200
        assert idle(url, 120), "their answers are made, or dropped, without them reading"
        deadline = time.monotonic() + 20
        while connections(process) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert connections(process) <= 1


def test_more_than_may_wait_is_refused_with_429_and_when_to_come_again(folder: Path) -> None:
    with served(folder, "--slots", "1", "--queue", "2") as (_, url):
        statuses, headers = [], []

        def ask() -> None:
            answer = httpx.post(f"{url}/v1/completions", json=ASK | {"stream": False, "max_tokens": 300}, timeout=60)
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                headers.append((answer.headers["retry-after"], answer.json()["error"]["type"]))

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 3
        assert set(headers) == {("1", "rate_limit_error")}
        assert figures(url)["requests_refused_total"] == statuses.count(429)
        too_many = httpx.post(f"{url}/v1/completions", json=ASK | {"n": 3})
        assert too_many.status_code == 429


def test_files_that_are_not_those_of_the_digest_are_not_loaded(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    digest = digest_of(folder)
    with served(folder, "--digest", digest):
        pass
    weights = folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with start(folder, free_port(), "--digest", digest) as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert f"{digest} was approved" in process.stderr.read()


def test_an_address_that_is_taken_ends_the_process_with_the_reason(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with start(folder, taken.getsockname()[1]) as process:
            assert process.wait(60) == 1
            assert process.stderr is not None
            assert "cannot be listened on" in process.stderr.read()


def test_the_process_is_bounded_in_memory_and_leaves_no_dump(folder: Path) -> None:
    with served(folder, "--memory", str(3 * 2**30)) as (process, _):
        limits = psutil.Process(process.pid)
        assert limits.rlimit(psutil.RLIMIT_DATA)[1] == 3 * 2**30
        assert limits.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status


def test_answers_that_find_no_memory_are_errors_and_the_server_goes_on(folder: Path) -> None:
    body = {"model": "tiny", "prompt": "What", "max_tokens": 20}
    with served(folder, "--memory", str(4 * 2**30)) as (process, url):
        before = httpx.post(f"{url}/v1/completions", json=body).json()["choices"][0]["text"]
        status = Path(f"/proc/{process.pid}/status").read_text()
        used = int(status.partition("VmData:")[2].split()[0]) * 1024
        limits = psutil.Process(process.pid)
        limits.rlimit(psutil.RLIMIT_DATA, (used + 2**21, 4 * 2**30))
        long = {"prompt": "What " * 700, "n": 16}
        answer = httpx.post(f"{url}/v1/completions", json=body | long, timeout=120)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "generation_failed")
        limits.rlimit(psutil.RLIMIT_DATA, (4 * 2**30, 4 * 2**30))
        assert httpx.post(f"{url}/v1/completions", json=body).json()["choices"][0]["text"] == before
        assert figures(url)['answers_total{finish_reason="error"}'] == 16


def test_memory_beyond_the_bound_is_refused_to_the_process() -> None:
    program = (
        "from llmops_assets.serving.runtime.confinement import confine\n"
        "confine(256 * 2**20)\n"
        "try:\n    bytearray(512 * 2**20)\nexcept MemoryError:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "refused"
