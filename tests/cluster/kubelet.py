"""A kubelet for tests: it runs the command of every pod as a process of this machine, and tells the API how it went.

Volumes are folders, a secret's keys are files in one, and the first pod's name is this machine.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

from tests.cluster.kube_api import INDEX, KubeApi, Object

ROOT = Path(__file__).parents[2]


class Kubelet:
    """Takes the pods of an API server, each into a folder of its own below `root`."""

    def __init__(self, api: KubeApi, root: Path) -> None:
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._api, self._root, self._port = api, root, _free_port()
        self._threads: list[threading.Thread] = []
        api.on_pod, api.on_pod_gone = self._take, self._stop

    def close(self) -> None:
        """End what still runs."""
        for name in list(self.processes):
            self._stop(name, signal.SIGKILL)
        for thread in self._threads:
            thread.join(10)

    def _take(self, pod: Object) -> None:
        thread = threading.Thread(target=self._run, args=(pod,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.get(name)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, number)

    def _run(self, pod: Object) -> None:
        name, spec = pod["metadata"]["name"], pod["spec"]
        (container,) = spec["containers"]
        folder = self._root / name
        folder.mkdir(parents=True)
        places = {mount["mountPath"]: folder / mount["name"] for mount in container["volumeMounts"]}
        for volume in spec["volumes"]:
            (folder / volume["name"]).mkdir()
            for item in volume.get("secret", {}).get("items", ()):
                text = self._secret(volume["secret"]["secretName"], item["key"])
                (folder / volume["name"] / item["path"]).write_text(text)
        first = f"{spec['subdomain']}-0.{spec['subdomain']}"

        def here(text: str) -> str:
            text = text.replace("$(JOB_COMPLETION_INDEX)", pod["metadata"]["labels"][INDEX]).replace(first, "127.0.0.1")
            for path, real in places.items():
                if text == path or text.startswith(f"{path}/"):
                    return str(real) + text.removeprefix(path)
            return text.replace("=29500", f"={self._port}")

        command = [here(part) for part in (*container["command"], *container["args"])]
        environment = {entry["name"]: here(self._value(entry)) for entry in container["env"]}
        process = subprocess.Popen(
            [sys.executable, *command[1:]], cwd=ROOT, text=True, start_new_session=True,
            env={"PATH": os.environ["PATH"], "JOB_COMPLETION_INDEX": pod["metadata"]["labels"][INDEX],
                 "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE", **environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.processes[name] = process
        self._api.running(name)
        last: deque[str] = deque(maxlen=80)
        for line in process.stdout or ():
            last.append(line.rstrip())
            self._api.say(name, line.rstrip())
        code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._api.ended(name, code if code >= 0 else 128 - code, message="\n".join(last)[-2048:] if code else "")

    def _secret(self, name: str, key: str) -> str:
        return str(self._api.get("Secret", name)["stringData"][key])

    def _value(self, entry: dict[str, Any]) -> str:
        if "value" in entry:
            return str(entry["value"])
        reference = entry["valueFrom"]["secretKeyRef"]
        return self._secret(reference["name"], reference["key"])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
