"""The demo's data sets and recipes, from `examples/demo_data.py` of this clone."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from llmops_resources.errors import InvalidInput

VERSION = "1.0.0"


@dataclass(frozen=True)
class DemoDataset:
    """One data set of the demo; `file` is the attribute of `DemoFiles` that holds its path."""

    name: str
    file: str
    purpose: str
    benchmark: bool = False


CORPUS = DemoDataset("python_docs", "corpus", "docstrings and help topics of the standard library")
TRAIN = DemoDataset("python_qa_train", "train", "questions and answers to fine-tune on")
VALIDATION = DemoDataset("python_qa_validation", "validation", "to choose hyperparameters on")
BENCHMARK = DemoDataset("python_qa_benchmark", "benchmark", "the same facts in wordings never trained on", True)
DATASETS: Sequence[DemoDataset] = (CORPUS, TRAIN, VALIDATION, BENCHMARK)
LICENSE = "PSF-2.0"


class DemoData:
    """The example module, imported when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._module: ModuleType | None = None
        self._files: Any = None

    def path(self, dataset: DemoDataset) -> Path:
        """The file of a data set; all four are built the first time."""
        if self._files is None:
            self._files = self._example().build(self._folder)
        path: Path = getattr(self._files, dataset.file)
        return path

    def hyperparameters(self, job: str) -> dict[str, Any]:
        """The recipe of `pretrain` or `finetune`."""
        found: dict[str, Any] = getattr(self._example(), f"DEMO_{job.upper()}")
        return found

    def _example(self) -> ModuleType:
        if self._module is None:
            path = Path(__file__).parents[2] / "examples" / "demo_data.py"
            spec = importlib.util.spec_from_file_location("llmops_demo_data", path) if path.exists() else None
            if spec is None or spec.loader is None:
                raise InvalidInput(f"the demo's data comes from {path}", remedy="Run the demo from a clone of llmops.")
            self._module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = self._module  # where its dataclasses look for their module
            spec.loader.exec_module(self._module)
        return self._module
