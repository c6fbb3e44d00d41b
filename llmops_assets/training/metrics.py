"""What a program tells the world while it works: JSON lines on stdout and, when it has an address, batches over HTTP.

A line is one of
    {"event": "metric", "name": …, "step": …, "value": …, "unit": …}
    {"event": "progress", "fraction": 0…1, "message": …}
    {"event": "checkpoint", "step": …, "folder": …}
    {"event": "refused", "message": …, "remedy": …}
    {"event": "done"}
Recording over HTTP happens on a background thread: it never delays and never fails the work that is measured.
"""

import contextlib
import json
import math
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from llmops_resources.errors import PlatformError

BATCH = 200  # metrics a request
CAPACITY = 50_000  # kept while the API is away; the oldest go first
PERIOD = 0.5  # seconds between two deliveries
LAST_DELIVERY = 5.0  # seconds that the end of the program may wait for


class Reporter:
    """Writes events to stdout and delivers metrics to `{API_BASE_URL}/training/jobs/{JOB_ID}/metrics`.

    Both on threads of their own, in the order in which things were said: whoever trains only puts them into a queue.
    A context manager: leaving it writes what is left, and delivers it within `LAST_DELIVERY` seconds.
    """

    def __init__(self, environment: Mapping[str, str], *, speaks: bool = True) -> None:
        """Of several processes that do the same work one `speaks`; the others are silent."""
        self._speaks = speaks
        base, job, token = (environment.get(name, "") for name in ("API_BASE_URL", "JOB_ID", "JOB_TOKEN"))
        addressed = speaks and base and job and token
        self._url = f"{base.rstrip('/')}/training/jobs/{job}/metrics" if addressed else ""
        self._token = token
        self.step = 0  # the newest that a metric was reported for
        self._said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=CAPACITY)
        self._stopping = threading.Event()
        self._writer = threading.Thread(target=self._write, name="events", daemon=True)
        self._thread = threading.Thread(target=self._deliver, name="metrics", daemon=True)

    def __enter__(self) -> "Reporter":
        self._writer.start()
        if self._url:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._said.put(None)
        self._writer.join()
        self._stopping.set()
        if self._url:
            self._thread.join(LAST_DELIVERY)

    def metric(self, name: str, step: int, value: float, unit: str = "") -> None:
        """Records one finite figure; JSON has no infinity, so any other is left out."""
        if not math.isfinite(value):
            return
        self.step = max(self.step, step)
        self._say({"event": "metric", "name": name, "step": step, "value": value, "unit": unit}, at=time.time())

    def progress(self, fraction: float, message: str) -> None:
        """Says how far the whole program is, from 0 to 1."""
        self._say({"event": "progress", "fraction": round(min(max(fraction, 0.0), 1.0), 4), "message": message})

    def done(self) -> None:
        """Says that the result lies complete on the disk."""
        self._say({"event": "done"})

    def checkpoint(self, step: int, folder: Path) -> None:
        """Says that a checkpoint lies complete on the disk."""
        self._say({"event": "checkpoint", "step": step, "folder": str(folder)})

    def _say(self, event: dict[str, Any], at: float | None = None) -> None:
        if self._speaks:
            self._said.put(event if at is None else {**event, "at": at})

    def _write(self) -> None:
        while (event := self._said.get()) is not None:
            at = event.pop("at", None)
            _print(event)
            if at is not None and self._url:
                told = {name: event[name] for name in ("name", "value", "unit", "step")}
                self._waiting.append({**told, "recordedAt": datetime.fromtimestamp(at, UTC).isoformat()})

    def _deliver(self) -> None:
        pause, deadline = PERIOD, math.inf
        while True:
            stopping = self._stopping.wait(pause)
            if stopping:
                deadline = min(deadline, time.monotonic() + LAST_DELIVERY)
            delivered = self._post()
            if stopping and (not self._waiting or time.monotonic() > deadline):
                return
            if stopping and not delivered:
                time.sleep(PERIOD)
            # An API that is away is asked less and less often, so that refused calls do not slow the training.
            pause = PERIOD if delivered else min(pause * 2, 30.0)

    def _post(self) -> bool:
        """Sends one batch, and drops it when the API has it or will never take it. Whether to go on at full pace."""
        batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
        if not batch:
            return True
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url, json.dumps(batch).encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=LAST_DELIVERY):  # noqa: S310
                pass
        except urllib.error.HTTPError as error:
            if error.code >= 500 or error.code == 429:
                return False
            print(f"the API refused {len(batch)} metrics: {error.code} {error.reason}", file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return False
        for _ in batch:
            with contextlib.suppress(IndexError):
                self._waiting.popleft()
        return True


def refused(environment: Mapping[str, str], error: PlatformError) -> None:
    """Tells whoever started the program that its input is at fault; of several processes, one does.

    An event as well as words on stderr, since `torchrun` does not pass on how its processes ended.
    """
    if environment.get("RANK", "0") == "0":
        _print({"event": "refused", "message": str(error), "remedy": error.remedy})
        print(f"{error}\n{error.remedy}".strip(), file=sys.stderr, flush=True)


def _print(event: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever listened has gone; the work goes on
        print(json.dumps(event), flush=True)
