"""What a training run is carried out by: hardware, software and the code itself; and that it ends with its starter."""

import ctypes
import hashlib
import os
import platform
import signal
import sys
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers

from llmops_resources.training import architecture, recipe

_PR_SET_PDEATHSIG = 1


def facts(device: torch.device) -> dict[str, Any]:
    """`device`, `threads`, `versions` and `code_digest` (`sha256:<hex>` over the training program's own files)."""
    processor = f"CPU ({platform.machine()})"
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{m.__name__: str(m.__version__) for m in (torch, transformers, accelerate)},
        },
        "code_digest": code_digest(),
    }


def code_digest() -> str:
    """Names the code that trains: the files of this folder and the recipe's."""
    own = [*sorted(Path(__file__).parent.glob("*.py")), Path(architecture.__file__), Path(recipe.__file__)]
    digest = hashlib.sha256()
    for path in own:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies (on Linux; elsewhere nothing happens)."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)
