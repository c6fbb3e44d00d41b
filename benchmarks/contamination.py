"""Samples of a benchmark that stand in training data: how many of the planted ones are found, and how fast rows pass.

Of so many samples a tenth stands in the rows word for word amid other words, a tenth with a word changed in every run
of twelve (no 13-gram is left), and the rest nowhere. Beside it the plain way: every sample looked for as a piece of
every row, both normalized; it finds what stands there word for word. CPU seconds. `python -m benchmarks.contamination`.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterable
from typing import Final

from llmops_assets.evaluation.contamination import Index, tokens
from llmops_resources.evaluation.contamination import How
from llmops_resources.evaluation.suite import Tokenization

WORDS: Final = Tokenization.WORDS
LENGTH: Final = 120  # words of a sample, and at least of a row
CHANGED_EVERY: Final = 12
Found = dict[int, How]


def texts(count: int, rng: random.Random) -> list[list[str]]:
    """So many texts of LENGTH words out of 20,000."""
    return [[f"w{rng.randrange(20_000)}" for _ in range(LENGTH)] for _ in range(count)]


def planted(samples: list[list[str]], rows: int, rng: random.Random) -> tuple[list[str], dict[int, How]]:
    """Training rows with a tenth of the samples whole and a tenth altered, and which samples are there how."""
    tenth = len(samples) // 10
    there = dict.fromkeys(range(tenth), How.NGRAM) | dict.fromkeys(range(tenth, 2 * tenth), How.NEAR_DUPLICATE)
    lines = texts(rows - len(there), rng)
    for number, how in there.items():
        words = samples[number]
        if how is How.NGRAM:
            lines.append([*lines[number][:20], *words, *lines[number][20:40]])
        else:
            lines.append([f"x{at}" if at % CHANGED_EVERY == 0 else word for at, word in enumerate(words)])
    rng.shuffle(lines)
    return [" ".join(line) for line in lines], there


def ours(samples: list[str], rows: Iterable[str]) -> Found:
    """As an evaluation does it."""
    index = Index({number: (text, "") for number, text in enumerate(samples)}, WORDS)
    found: Found = {}
    for row in rows:
        found = index.matches([row]) | found
    return found


def plainly(samples: list[str], rows: Iterable[str]) -> Found:
    """Every sample as a piece of every row."""
    pieces = [" ".join(tokens(text, WORDS)) for text in samples]
    found: Found = {}
    for row in rows:
        line = " ".join(tokens(row, WORDS))
        found |= {number: How.NGRAM for number, piece in enumerate(pieces) if piece in line}
    return found


def main() -> None:
    """Print what each way found and how many rows a CPU second it read."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("samples", 1_000), ("rows", 20_000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    samples = texts(asked.samples, rng)
    rows, there = planted(samples, asked.rows, rng)
    whole = [" ".join(words) for words in samples]
    speeds = []
    for name, way in (("ours", ours), ("piece by piece", plainly)):
        seconds, found = _timed(way, whole, rows)
        speeds.append(len(rows) / seconds)
        by_kind = {how.value: sum(found.get(n) == how for n, wanted in there.items() if wanted is how) for how in How}
        wrong = len(found.keys() - there.keys())
        print(f"{name}: {speeds[-1]:.0f} rows a CPU second, found {by_kind} of {len(there) // 2} each, {wrong} wrongly")
    print(f"{speeds[0] / speeds[1]:.1f}×")


def _timed(way: Callable[[list[str], list[str]], Found], samples: list[str], rows: list[str]) -> tuple[float, Found]:
    began = time.process_time()
    found = way(samples, rows)
    return time.process_time() - began, found


if __name__ == "__main__":
    main()
