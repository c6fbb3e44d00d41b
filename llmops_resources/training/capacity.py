"""How much there is to train on: GPUs by type and CPU slots, from the settings or from this machine."""

import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from typing import Final

from llmops_resources.settings import Settings
from llmops_resources.training.profile import CPU_POOL

_SECONDS: Final = 10.0
_MODEL: Final = re.compile(r"\b(?:[a-z]{1,4}\d{1,4}[a-z]{0,2}|\d{4})\b")  # h100, a10g, l4, gh200; and 4090


def capacity_of(settings: Settings) -> dict[str, int]:
    """Units by pool: TRAINING_GPU_CAPACITY, else the GPUs of this machine; and TRAINING_CPU_SLOTS under `cpu`."""
    gpus = settings.training_gpu_capacity
    return {**(_found() if gpus is None else gpus), CPU_POOL: settings.training_cpu_slots}


def gpu_type(name: str) -> str:
    """The short name of a GPU as its driver calls it: `NVIDIA H100 80GB HBM3` is h100."""
    lower = name.lower()
    found = _MODEL.search(lower)
    return found.group() if found else re.sub(r"[^a-z0-9]+", "-", lower).strip("-")[:32] or "gpu"


@cache
def _found() -> dict[str, int]:
    """The GPUs of this machine, asked once a process; none where the driver's program is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(Counter(gpu_type(line) for line in done.stdout.splitlines() if line.strip()))
