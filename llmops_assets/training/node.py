"""What the pods of a job run: `python -m llmops_assets.training.node ERRAND_FILE WORK_DIR TORCHRUN_OPTION…`.

Fetches the inputs and the newest checkpoint over the errand's links, runs the training program under `torchrun`, and
sends each new checkpoint and at the end the model. Of several nodes the first one sends; all of them fetch.
Its exit status is torchrun's; SIGTERM is passed on, and the checkpoint that the program then writes is sent.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from llmops_assets.training import parcels
from llmops_resources.errors import PlatformError, Unavailable
from llmops_resources.training.errand import Errand, Index, Parcel

POLL: Final = 0.5
PEER_SECONDS: Final = 900.0  # for the first node to have a name: its image may still be on its way
_STEP: Final = re.compile(r"step-([0-9]+)")


def main(errand_file: Path, work: Path, torchrun: list[str]) -> int:
    """Run the errand. Raises Unavailable, Conflict when its inputs cannot be fetched."""
    errand = Errand.model_validate_json(errand_file.read_bytes())
    rank = int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    run = work / "run"
    run.mkdir(parents=True, exist_ok=True)
    for file in errand.inputs:
        parcels.fetch(file, run)
    (run / "recipe.json").write_text(errand.recipe)
    sent = resume(errand.checkpoints, run / "resume")
    if rank != 0:
        wait_for(next(option.partition("=")[2] for option in torchrun if option.startswith("--master-addr=")))
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, "-m", errand.program, str(run)]
    program = subprocess.Popen(command)

    signal.signal(signal.SIGTERM, lambda number, _frame: _pass_on(program.pid, number))
    while True:
        status = program.poll()
        if rank == 0:
            sent = _send_newest(errand_file, run, sent)
        if status is not None:
            break
        time.sleep(POLL)
    if rank == 0 and status == 0:
        parcels.send(_reread(errand_file).output, run / "output", 1)
    return status if status >= 0 else 128 - status


def resume(slots: tuple[Parcel, Parcel], into: Path) -> int:
    """Fetch the newest checkpoint that is whole; its number, or -1 when there is none."""
    found = [(index, slot) for slot in slots if (index := parcels.read_index(slot)) is not None]
    for index, slot in sorted(found, key=_serial, reverse=True):
        try:
            parcels.receive(slot, index, into)
        except PlatformError as error:  # it was being written when its pod died; the one before is whole
            print(f"checkpoint {index.serial} is left out: {error}", file=sys.stderr, flush=True)
        else:
            return index.serial
    return -1


def wait_for(host: str, seconds: float = PEER_SECONDS) -> None:
    """Wait until the first node has an address. Raises Unavailable."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            if time.monotonic() > deadline:
                raise Unavailable(f"the first node ({host}) did not appear", remedy="Retry the job.") from None
            time.sleep(POLL)
        else:
            return


def _pass_on(torchrun: int, number: int) -> None:
    """Tell the processes themselves: torchrun would kill them after 30 seconds, which a checkpoint may well need."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(torchrun)
        for process in parent.children() or [parent]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _send_newest(errand_file: Path, run: Path, sent: int) -> int:
    """Send the newest checkpoint when it is newer than `sent`; one that cannot be sent waits for the next look."""
    newest = max(_checkpoints(run), default=sent)
    if newest <= sent:
        return sent
    slots = _reread(errand_file).checkpoints
    held = [index.serial if (index := parcels.read_index(slot)) else -1 for slot in slots]
    try:
        parcels.send(slots[held.index(min(held))], run / "checkpoints" / f"step-{newest}", newest)
    except (PlatformError, OSError) as error:
        print(f"checkpoint {newest} could not be sent: {error}", file=sys.stderr, flush=True)
        return sent
    return newest


def _checkpoints(run: Path) -> list[int]:
    names = (path.name for path in (run / "checkpoints").glob("step-*"))
    return [int(found[1]) for name in names if (found := _STEP.fullmatch(name))]


def _reread(errand_file: Path) -> Errand:
    """The errand as it is now: its links are renewed before they expire."""
    return Errand.model_validate_json(errand_file.read_bytes())


def _serial(entry: tuple[Index, Parcel]) -> int:
    return entry[0].serial


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m llmops_assets.training.node ERRAND_FILE WORK_DIR TORCHRUN_OPTION…")
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
    except PlatformError as refused:
        print(refused.told, file=sys.stderr, flush=True)
        sys.exit(1)
