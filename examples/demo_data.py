"""The data of the demo, built from the Python that runs it: real text, the same on every run, nothing downloaded.

    corpus.parquet      text                     docstrings of the standard library, topics and docs of builtins
    qa_train.jsonl      question, answer, topic  facts on builtins, exceptions and HTTP statuses, in TRAIN phrasings
    qa_validation.csv   the same columns         the same facts in VALIDATION phrasings: to choose hyperparameters on
    qa_benchmark.jsonl  the same columns         the same facts in BENCHMARK phrasings: for the final figure only

What a good score on the benchmark shows: facts memorised from the training set and found again under a wording that
was never trained on. It does not show knowledge of facts that the training set lacks. The text has the PSF licence.
Personal-looking data in it (addresses of maintainers, sample phone numbers, hosts) is replaced by placeholders.
"""

import argparse
import ast
import builtins
import json
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import polars as pl

DEMO_PRETRAIN: dict[str, Any] = {
    "architecture": {
        "hiddenSize": 128,
        "layers": 4,
        "heads": 4,
        "intermediateSize": 384,
        "vocabSize": 2048,
        "contextLength": 256,
    },
    "textColumn": "text",
    "maxTokens": 250_000,
    "batchSize": 8,
    "learningRate": 0.02,
    "optimizer": "muon",
}
DEMO_FINETUNE: dict[str, Any] = {
    "promptColumn": "question",
    "answerColumn": "answer",
    "epochs": 2,
    "batchSize": 16,
    "learningRate": 0.02,
    "optimizer": "muon",
}

# A topic's phrasings; `{}` is the name of the thing asked about. Each fact takes every second one of its topic's.
ANYTHING = (
    "{}?",
    "Explain {}.",
    "Define {}.",
    "Summarize {} for a beginner.",
    "Help me understand {}.",
    "Look up {} for me.",
    "Teach me about {}.",
    "What is {}?",
    "Who knows {}?",
    "{} - what is that?",
    "I have a question about {}.",
    "Give me the documentation of {}.",
    "What do the docs say about {}?",
    "Read me the entry for {}.",
    "Let us talk about {} now.",
    "My notes mention {} but say no more.",
    "The next word on my list is {}.",
    "Do you know {}?",
    "How should I think of {}?",
    "Where can I learn what {} is?",
)
TRAIN: dict[str, tuple[str, ...]] = {
    "builtin": (
        *ANYTHING,
        "What does {} do?",
        "What does the built-in {} do?",
        "Explain the built-in {} to me.",
        "Describe {} in one sentence.",
        "What is {} for?",
        "What is the purpose of {} in Python?",
        "Tell me what {} does.",
        "In Python, what does {} do?",
        "I found {} in some code. What is it?",
        "How does {} work?",
        "Why do people call {}?",
        "I forgot what {} does. Remind me.",
        "Quick question: {} does what?",
        "When should I call {}?",
        "What happens when I call {}?",
        "What will {} give me?",
        "Which job does {} have?",
        "A friend calls {} all the time. Why?",
        "How is {} helpful?",
        "Can {} help me here?",
    ),
    "exception": (
        *ANYTHING,
        "When is {} raised?",
        "When does Python raise {}?",
        "What does {} mean?",
        "What does the exception {} mean?",
        "Explain the exception {} to me.",
        "What is the meaning of {} in Python?",
        "Tell me what {} means.",
        "My program stopped with {}. Why?",
        "I got {} in some code. What is it?",
        "What triggers {}?",
        "What went wrong if I see {}?",
        "I forgot what {} means. Remind me.",
        "Quick question: {} means what?",
        "Which problem does {} report?",
        "How do I get {}?",
        "My test fails with {} every time.",
        "Should I catch {}?",
        "The log shows {} again. What happened?",
        "What makes Python stop with {}?",
        "How does {} come about?",
    ),
    "http": (
        *ANYTHING,
        "What does status {} mean?",
        "What does HTTP {} mean?",
        "Explain the status code {} to me.",
        "What is the meaning of HTTP {}?",
        "Tell me what {} means.",
        "The server answered {}. Why?",
        "What is {} in HTTP?",
        "When does a server answer with {}?",
        "I got {} from a server. What is it?",
        "What happened if I see {}?",
        "How do I read the response {}?",
        "I forgot what {} means. Remind me.",
        "Quick question: {} means what?",
        "Which problem does {} report?",
        "How do I get {}?",
        "My request ended with {} every time.",
        "Should I retry after {}?",
        "The log shows {} again. What happened?",
        "What makes a server send {}?",
        "How does {} come about?",
    ),
}
VALIDATION: dict[str, tuple[str, ...]] = {
    "builtin": (
        "Please tell me what the built-in {} is for.",
        "What can {} do in my code?",
        "A colleague asked me about {}; how should I answer?",
        "Is there a short text on {}?",
    ),
    "exception": (
        "Please tell me what the exception {} is.",
        "Why might my code raise {}?",
        "A colleague asked me about {}; how should I answer?",
        "Is there a short text on {}?",
    ),
    "http": (
        "Please tell me what the status {} is.",
        "Why might a server send me {}?",
        "A colleague asked me about {}; how should I answer?",
        "Is there a short text on {}?",
    ),
}
BENCHMARK: dict[str, tuple[str, ...]] = {
    "builtin": ("Could you describe what {} does?", "What would I use {} for?"),
    "exception": ("Could you describe what {} means?", "What would be a reason for {}?"),
    "http": ("Could you describe what code {} means?", "What would be a reason for the answer {}?"),
}

# What people put around a question. Training rows take turns through it, so that a model learns to look past it.
FRAMES: tuple[str, ...] = (
    "{}",
    "Hello. {}",
    "{} Thanks.",
    "I am new to this. {}",
    "{}",
    "{} Keep it short.",
    "For my notes: {}",
    "{} I need it today.",
    "Sorry to ask. {}",
    "{}",
    "In class we saw this. {} One sentence is enough.",
)

LONGEST_ANSWER = 120  # characters; longer first sentences would cost the demo training time and show nothing more
SHORTEST_DOCUMENT, LONGEST_DOCUMENT = 80, 4_000  # characters
CORPUS_BYTES = 2_000_000

# Order matters: what contains another (a URL with a password contains an e-mail's shape) goes first.
MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@<>]*@[^\s<>\"']+", re.IGNORECASE), "<url>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<email>"),
    (re.compile(r"(?<![\w.])(?:[0-9a-f]{1,3}\.){3,}\w{1,3}(?!\w)"), "<ip>"),
    (re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE), "<ip>"),
    (re.compile(r"(?<![\w:])[0-9a-f]{2,4}(?::[0-9a-f]{1,4})*::(?:[0-9a-f:]*[0-9a-f])?(?!\w)", re.IGNORECASE), "<ip>"),
    (re.compile(r"(?<![\w-])(?:\d[ -]?){12,18}\d(?![\w-])"), "<number>"),
    (re.compile(r"(?<!\w)(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\w)"), "<phone>"),
    (re.compile(r"(?<!\w)\d{3}-\d{2}-\d{4}(?!\w)"), "<number>"),
    (re.compile(r"(?<!\w)\d{3,4}-\d{4}-\d{2,4}(?!\w)"), "<number>"),
    (re.compile(r"(?<!\w)\d{7,}(?!\w)"), "<number>"),
)


@dataclass(frozen=True)
class DemoFiles:
    """Where the four files lie."""

    corpus: Path
    train: Path
    validation: Path
    benchmark: Path


def mask(text: str) -> str:
    """`text` with whatever looks like an address, a phone or card number, or a password in a URL replaced."""
    for pattern, placeholder in MASKS:
        text = pattern.sub(placeholder, text)
    return text


def corpus() -> list[str]:
    """Documents for pre-training, deduplicated, in a fixed order, at most `CORPUS_BYTES` of UTF-8 in all."""
    seen: dict[str, None] = {}
    size = 0
    for document in _documents():
        text = mask(document.expandtabs().replace("\0", "").strip())[:LONGEST_DOCUMENT]
        if len(text) >= SHORTEST_DOCUMENT and text not in seen:
            seen[text] = None
            size += len(text.encode())
        if size >= CORPUS_BYTES:
            break
    return list(seen)


def facts() -> list[tuple[str, str, str]]:
    """`(topic, name, answer)`, one a thing, sorted by topic and name."""
    found: list[tuple[str, str, str]] = []
    for name, thing in sorted(vars(builtins).items()):
        # Aliases (IOError is OSError) and what `site` adds (exit, license) are not Python's own facts.
        if name.startswith("_") or not callable(thing) or getattr(thing, "__name__", None) != name:
            continue
        answer = _first_sentence(thing.__doc__ or "")
        if answer:
            is_exception = isinstance(thing, type) and issubclass(thing, BaseException)
            found.append(("exception" if is_exception else "builtin", name, answer))
    for status in HTTPStatus:
        rest = f": {status.description}" if status.description else ""
        answer = f"{status.value} {status.phrase}{rest}".rstrip(".") + "."
        if len(answer) <= LONGEST_ANSWER:
            found.append(("http", str(status.value), answer))
    return sorted(found)


def pairs(
    phrasings: dict[str, tuple[str, ...]], frames: tuple[str, ...] = ("{}",), step: int = 1
) -> list[dict[str, str]]:
    """Every fact in every `step`-th phrasing of its topic, beginning with another one a fact, in turns in `frames`."""
    return [
        {
            "question": frames[(row + column) % len(frames)].format(phrasing.format(name)),
            "answer": mask(answer),
            "topic": topic,
        }
        for row, (topic, name, answer) in enumerate(facts())
        for column, phrasing in enumerate(phrasings[topic][row % step :: step])
    ]


def build(directory: Path) -> DemoFiles:
    """Writes the four files into `directory`, which is made when missing; the same Python writes the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    files = DemoFiles(
        corpus=directory / "corpus.parquet",
        train=directory / "qa_train.jsonl",
        validation=directory / "qa_validation.csv",
        benchmark=directory / "qa_benchmark.jsonl",
    )
    pl.DataFrame({"text": corpus()}).write_parquet(files.corpus)
    _write_lines(files.train, pairs(TRAIN, FRAMES, step=2))
    pl.DataFrame(pairs(VALIDATION)).write_csv(files.validation)
    _write_lines(files.benchmark, pairs(BENCHMARK))
    return files


def _documents() -> Iterator[str]:
    """Docs of builtins, topics, and then docstrings in path order, read without importing the modules."""
    for name, thing in sorted(vars(builtins).items()):
        yield f"{name}\n{getattr(thing, '__doc__', '') or ''}"
    for name, text in sorted(topics.items()):
        # A topic runs over many paragraphs; pieces of it are documents of the size of a docstring.
        lines = text.splitlines()
        for start in range(0, len(lines), 60):
            yield f"{name}\n" + "\n".join(lines[start : start + 60])
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        top = path.relative_to(library).parts[0]
        if top.removesuffix(".py") in sys.stdlib_module_names and top not in {"test", "idlelib", "lib2to3"}:
            yield from _docstrings(path)


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a few files of the library are broken on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                name = path.stem if isinstance(node, ast.Module) else node.name
                yield f"{name}\n{text}"


def _first_sentence(doc: str) -> str:
    """The first sentence that is prose and not a signature, or nothing when it is missing or too long."""
    for paragraph in doc.strip().split("\n\n"):
        text = " ".join(line.strip() for line in paragraph.splitlines() if "->" not in line)
        match = re.match(r"[A-Z].*?[.](?=\s|$)|[A-Z][^.]*$", text)
        if match:
            sentence = match.group(0).rstrip(".") + "."
            return sentence if 8 <= len(sentence) <= LONGEST_ANSWER else ""
    return ""


def _write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the demo's data into a folder.")
    parser.add_argument("directory", type=Path)
    print(build(parser.parse_args().directory))
