"""Uploading: `benchmarks/upload.py [--megabytes 1024] [--s3-megabytes 256] [--rounds 3] [--s3-only] [--s3 moto]`.

One model (safetensors, config, tokenizer) is sent over localhost by one sender. Ours: `python -m serving_api` with its
database, airlock and digests, by the form and in chunks. The alternatives: a Starlette app that takes the same form
through `UploadFile` and copies it to its place with a SHA-256, on the very same server (uvloop, httptools); `cp` of the
same file; and, for S3, an app that passes the body to boto3's TransferManager (`upload_fileobj`, its defaults: parts of
8 MB, ten threads) with a SHA-256. S3 is `rclone serve s3` of `.venv-bench`, written in Go, or moto, in Python: both
share the cores, so they rank clients and say nothing about a real S3; their own CPU is printed, the floor of both,
and beside it what the bare parts cost: the same bytes sent by obstore, unsigned, without a digest, an API or a check.
Digests must agree, or this fails.

The API loads boto3 when it starts, before the first figure of memory is taken: what that costs is printed beside it.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import obstore
from obstore.store import S3Store

from llmops_cli import sending
from llmops_cli.api import Api
from llmops_resources import database, migrate, postgres

ROOT = Path(__file__).resolve().parents[1]
BOUNDARY = "a-boundary-of-this-benchmark"
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, "hidden_size": 32}
TOKENIZER = {"model": {"type": "BPE", "vocab": {f"t{n}": n for n in range(64)}, "merges": []}}
STARLETTE = """
import hashlib, os, sys
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
async def upload(request):
    digests = {}
    async with request.form() as form:
        for file in form.getlist("files"):
            def copy():
                digest = hashlib.sha256()
                with open(os.path.join(sys.argv[2], file.filename), "wb") as out:
                    while chunk := file.file.read(1 << 20):
                        digest.update(chunk)
                        out.write(chunk)
                return digest.hexdigest()
            digests[file.filename] = await run_in_threadpool(copy)
    return JSONResponse(digests)
app = Starlette(routes=[Route("/upload", upload, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error")
"""
RCLONE = ROOT / ".venv-bench" / "bin" / "rclone"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
LOADING = """
from pathlib import Path
import serving_api.app
from llmops_resources.blobs import open_blobs
def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
composer, before = open_blobs("s3://bench", access_key="bench", secret_key="bench").composer, resident()
composer.load()
print(resident() - before)
"""
BOTO3 = """
import asyncio, hashlib, queue, sys
import boto3, uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
s3 = boto3.client("s3", endpoint_url=sys.argv[2])
class Body:
    # A request's body as a file, digested as it is read; a few chunks at most wait in memory.
    def __init__(self):
        self.digest, self.chunks, self.held, self.ended = hashlib.sha256(), queue.Queue(64), bytearray(), False
    def read(self, size):
        while not self.ended and len(self.held) < size:
            chunk = self.chunks.get()
            self.ended = not chunk
            self.digest.update(chunk)
            self.held += chunk
        piece = bytes(self.held[:size])
        del self.held[:size]
        return piece
async def upload(request):
    body, key = Body(), request.path_params["name"]
    sending = asyncio.create_task(run_in_threadpool(s3.upload_fileobj, body, "bench", key))
    async for chunk in request.stream():
        if not chunk:
            break
        try:
            body.chunks.put_nowait(chunk)
        except queue.Full:
            await run_in_threadpool(body.chunks.put, chunk)
    await run_in_threadpool(body.chunks.put, b"")
    await sending
    return JSONResponse({key: body.digest.hexdigest()})
app = Starlette(routes=[Route("/upload/{name}", upload, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error")
"""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(command: list[str], port: int, **environment: str) -> Iterator[int]:
    """A server that listens on `port`; its process id."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log, cwd=ROOT)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            else:
                sys.exit(f"{command[:3]} did not start")
            yield started.pid
        finally:
            started.kill()
            started.wait()


def peak_mb(pid: int) -> float:
    """The process's largest resident size so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def write_model(folder: Path, megabytes: int) -> list[Path]:
    """Three files the airlock accepts."""
    folder.mkdir()
    embedding, rest = 64 * 32 * 4, megabytes * 1024**2
    header = json.dumps({
        "model.embed_tokens.weight": {"dtype": "F32", "shape": [64, 32], "data_offsets": [0, embedding]},
        "rest": {"dtype": "U8", "shape": [rest], "data_offsets": [embedding, embedding + rest]},
    }).encode()  # fmt: skip
    header += b" " * (-len(header) % 8)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    noise = os.urandom(1024**2)
    with (folder / "model.safetensors").open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header + noise[:embedding])
        for _ in range(megabytes):
            out.write(noise)
    return sorted(folder.iterdir())


def post_form(port: int, path: str, files: list[Path]) -> Any:
    """Send the files as one form, as fast as a sender can: the kernel copies them to the socket."""
    heads = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{file.name}"\r\n\r\n'.encode()
        for file in files
    ]
    end = f"--{BOUNDARY}--\r\n".encode()
    length = sum(map(len, heads)) + sum(file.stat().st_size + 2 for file in files) + len(end)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    for head, file in zip(heads, files, strict=True):
        connection.send(head)
        with file.open("rb") as stream:
            connection.sock.sendfile(stream)
        connection.send(b"\r\n")
    connection.send(end)
    return answer_of(connection)


def post_raw(port: int, path: str, file: Path) -> Any:
    """Send one file as the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(file.stat().st_size))
    connection.endheaders()
    with file.open("rb") as stream:
        connection.sock.sendfile(stream)
    return answer_of(connection)


def answer_of(connection: http.client.HTTPConnection) -> Any:
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"refused with {answer.status}: {body[:500]!r}")
    return json.loads(body)


def cpu_seconds(pid: int) -> float:
    """User and system time of a server and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


class Ours:
    """Uploads to our API, each to a new entry that is deleted from the disk afterwards."""

    def __init__(self, port: int, files: list[Path], expected: dict[str, str]) -> None:
        self.port, self.files, self.expected, self.number = port, files, expected, 0

    def seconds(self, *, chunks: bool) -> float:
        with Api(f"http://127.0.0.1:{self.port}") as api:
            self.number += 1
            body = {"name": "bench", "version": str(self.number), "type": "base", "ownerTeam": "bench"}
            path = f"/catalog/models/{api.post('/catalog/models', body)['id']}"
            if chunks:
                taken, model = timed(lambda: sending.send(api, path, self.files, lambda _count: None))
            else:
                taken, answer = timed(lambda: post_form(self.port, f"/llm-ops/v1{path}/upload", self.files))
                model = answer["data"]
        if {file["path"]: file["sha256"] for file in model["files"]} != self.expected:
            sys.exit("the digests of our API are wrong")
        return taken


@contextlib.contextmanager
def our_api(home: Path, url: str, **settings: str) -> Iterator[tuple[int, int]]:
    """Our API on a fresh database; port and process id."""
    engine = database.connect(url)
    migrate.upgrade(engine)
    engine.dispose()
    port = free_port()
    command = [sys.executable, "-m", "serving_api"]
    environment = {"LLMOPS_HOME": str(home), "DATABASE_URL": url, "API_PORT": str(port), "LOG_LEVEL": "WARNING"}
    with process(command, port, **environment, **settings) as pid:
        yield port, pid


def on_disk(work: Path, url: str, megabytes: int, rounds: int) -> bool:
    """Ours, Starlette and cp in turn; whether every promise was kept."""
    files = write_model(work / "model", megabytes)
    expected = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    seconds: dict[str, list[float]] = {"form": [], "chunks": [], "starlette": [], "cp": []}
    cpu: dict[str, list[float]] = {"form": [], "chunks": [], "starlette": []}
    there, port = work / "starlette", free_port()
    there.mkdir()
    starlette = [sys.executable, "-c", STARLETTE, str(port), str(there)]
    with our_api(work / "home", url) as (ours_at, pid), process(starlette, port) as other:
        ours = Ours(ours_at, files, expected)
        before = peak_mb(pid)
        for _ in range(rounds):
            spent = cpu_seconds(pid), cpu_seconds(other)
            seconds["form"].append(ours.seconds(chunks=False))
            cpu["form"].append(cpu_seconds(pid) - spent[0])
            form_growth = peak_mb(pid) - before
            taken, digests = timed(lambda: post_form(port, "/upload", files))
            if digests != expected:
                sys.exit("the digests of the Starlette app are wrong")
            seconds["starlette"].append(taken)
            cpu["starlette"].append(cpu_seconds(other) - spent[1])
            copied = timed(lambda: subprocess.run(["cp", *map(str, files), str(work / "home")], check=True))
            seconds["cp"].append(copied[0])
            spent = cpu_seconds(pid), 0.0
            seconds["chunks"].append(ours.seconds(chunks=True))
            cpu["chunks"].append(cpu_seconds(pid) - spent[0])
            shutil.rmtree(work / "home" / "objects" / "models")
        growth = peak_mb(pid) - before
    print(f"\n{megabytes} MB to a local folder, median of {rounds}\n")
    print("| way | s | MB/s | server CPU s |\n|---|---|---|---|")
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in middle.items():
        spent_cpu = f"{statistics.median(cpu[name]):.2f}" if name in cpu else "–"
        print(f"| {name} | {value:.2f} | {megabytes / value:.0f} | {spent_cpu} |")
    over, part = middle["starlette"] / middle["form"], middle["cp"] / middle["form"]
    print(f"\nour form against UploadFile: {over:.2f}x (promise 1.5x); against cp: {part:.2f}x (promise 0.25x)")
    slower, chunked = middle["starlette"] / middle["chunks"], middle["cp"] / middle["chunks"]
    print(f"our chunks against UploadFile: {slower:.2f}x; against cp: {chunked:.2f}x")
    saved = statistics.median(cpu["starlette"]) / statistics.median(cpu["form"])
    print(f"server CPU, UploadFile against our form: {saved:.2f}x")
    print(f"memory of our API grew by {form_growth:.0f} MB over forms, {growth:.0f} MB in all (promise below 64 MB)")
    return over >= 1.5 and part >= 0.25 and growth < 64


def s3_server(which: str, folder: Path, port: int) -> list[str]:
    """The command that serves an S3, with the bucket `bench` once `make_bucket` ran."""
    if which == "moto":
        return [sys.executable, "-m", "moto.server", "-p", str(port)]
    folder.mkdir()
    keys = ",".join((KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]))
    command = [str(RCLONE), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", keys]
    return [*command, "--etag-hash", "", str(folder)]  # or it reads a whole object whenever it is asked for its size


def on_s3(work: Path, url: str, megabytes: int, rounds: int, which: str) -> bool:
    """Ours through obstore against boto3's TransferManager, both into one S3, in turns; which goes first changes."""
    files = write_model(work / "s3-model", megabytes)
    weights = next(file for file in files if file.name == "model.safetensors")
    expected = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    s3, other = free_port(), free_port()
    endpoint = f"http://127.0.0.1:{s3}"
    store = {"OBJECT_STORE_URL": "s3://bench/ours", "OBJECT_STORE_ENDPOINT": endpoint, **KEYS}
    make = "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1]).create_bucket(Bucket='bench')"
    # wall, own CPU, the server's CPU
    spent: dict[str, list[tuple[float, float, float]]] = {"ours": [], "boto3": [], "bare parts": []}
    loading = float(subprocess.run([sys.executable, "-c", LOADING], check=True, stdout=-1, cwd=ROOT).stdout)
    with process(s3_server(which, work / "s3", s3), s3) as server:
        subprocess.run([sys.executable, "-c", make, endpoint], check=True, env=os.environ | KEYS)
        boto3 = [sys.executable, "-c", BOTO3, str(other), endpoint]
        with our_api(work / "s3-home", url, **store) as (port, pid), process(boto3, other, **KEYS) as theirs:
            ours = Ours(port, files, expected)

            def boto() -> float:
                taken, digests = timed(lambda: post_raw(other, f"/upload/{weights.name}", weights))
                if digests[weights.name] != expected[weights.name]:
                    sys.exit("the digest of the boto3 app is wrong")
                return taken

            def mine() -> float:
                return ours.seconds(chunks=False)

            bare = S3Store(
                "bench",
                endpoint=endpoint,
                access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
                region=KEYS["AWS_DEFAULT_REGION"],
                unsigned_payload=True,
                client_options={"allow_http": True},
            )

            def parts_alone() -> float:
                return timed(lambda: obstore.put(bare, "bare", weights, use_multipart=True, chunk_size=8 * 1024**2))[0]

            me = os.getpid()
            ways: list[tuple[str, int, Callable[[], float]]] = [
                ("ours", pid, mine), ("boto3", theirs, boto), ("bare parts", me, parts_alone)
            ]  # fmt: skip
            held = peak_mb(pid)
            for _name, _client, act in ways:  # imports and connections of everyone
                act()
            for number in range(rounds):
                for name, client, act in ways if number % 2 else ways[::-1]:
                    before = cpu_seconds(client), cpu_seconds(server)
                    wall = act()
                    spent[name].append((wall, cpu_seconds(client) - before[0], cpu_seconds(server) - before[1]))
            growth = peak_mb(pid) - held
    print(f"\n{megabytes} MB to S3 ({which}), median of {rounds}\n")
    print(f"| way | s | client CPU s | {which}'s CPU s |\n|---|---|---|---|")
    middle: dict[str, list[float]] = {
        name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in spent.items()
    }
    for name, (wall, cpu, floor) in middle.items():
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {floor:.2f} |")
    over, saved = middle["boto3"][0] / middle["ours"][0], middle["boto3"][1] / middle["ours"][1]
    print(f"\nCPU of the client of S3 alone, boto3's against ours: {saved:.2f}x")
    print(f"{which}'s CPU, boto3's against ours: {middle['boto3'][2] / middle['ours'][2]:.2f}x")
    print(f"bare parts against boto3's TransferManager: {middle['boto3'][0] / middle['bare parts'][0]:.2f}x")
    print(f"memory of our API grew by {growth:.0f} MB from {held:.0f} MB on (promise below 64 MB)")
    print(f"{loading:.0f} MB of what it had before are boto3, loaded when it starts")
    print(f"ours against boto3's TransferManager: {over:.2f}x (promise 1.2x)")
    return over >= 1.2 and growth < 64


def main() -> None:
    """Prints the figures; says plainly which promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--s3-megabytes", type=int, default=256)
    parser.add_argument("--s3-only", action="store_true")
    parser.add_argument("--s3", choices=("rclone", "moto"), default="rclone" if RCLONE.exists() else "moto")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)
        url = postgres.start(work / "pg" / "data", databases=("disk", "s3"))
        try:
            kept = arguments.s3_only or on_disk(work, url, arguments.megabytes, arguments.rounds)
            kept &= on_s3(work, url.replace("/disk", "/s3"), arguments.s3_megabytes, arguments.rounds, arguments.s3)
        finally:
            postgres.stop(work / "pg" / "data")
    print("every promise was kept" if kept else "NOT every promise was kept in this run")


if __name__ == "__main__":
    main()
