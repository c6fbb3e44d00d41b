"""What a check of an upload imports."""

import subprocess
import sys

SCANNING = """
import sys
import llmops_resources.checks.scan
from llmops_resources.checks.ner import load_engine
from llmops_resources.settings import Settings

load_engine(Settings().pii_spacy_model)
loaded = {"torch", "transformers"} & set(sys.modules)
assert not loaded, loaded

import torch, transformers
assert torch.ones(1).item() == 1 and transformers.__version__
"""
AFTERWARDS = """
import sys
import torch
import llmops_resources.checks.presidio

assert sys.modules["torch"] is torch and "transformers" not in sys.modules
"""


def _run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_recognizers_and_language_model_load_no_deep_learning_library_and_leave_it_to_be_loaded_later() -> None:
    _run(SCANNING)


def test_what_was_imported_before_stays() -> None:
    _run(AFTERWARDS)
