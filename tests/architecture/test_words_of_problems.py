"""Every code of a problem that the server can send has its words in the other languages of the console."""

import ast
import re
from pathlib import Path

from llmops_resources.errors import ErrorKind

ROOT = Path(__file__).parents[2]
WORDS = ROOT / "ui_extensions" / "src" / "kit" / "said.ts"
#: Columns that no later step could hold: their kinds are chosen in a function of their own.
NAMES = "_unusable"


def _kinds_of_problems() -> set[str]:
    kinds: set[str] = set()
    for path in (ROOT / "llmops_resources" / "checks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add":
                first = node.args[0] if len(node.args) >= 3 else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    kinds.add(first.value)
            if isinstance(node, ast.FunctionDef) and node.name == NAMES:
                returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
                kinds |= {ast.literal_eval(pair.elts[0]) for pair in returned if isinstance(pair, ast.Tuple)}
    return kinds


def test_every_kind_of_error_and_of_problem_has_its_words_in_korean() -> None:
    told = set(re.findall(r"^  (\w+): \[", WORDS.read_text(), re.MULTILINE))
    kinds = _kinds_of_problems()
    assert {"ragged_row", "empty_header", "wrong_type", "parser_failed"} <= kinds
    assert sorted(kinds - told) == []
    assert sorted({str(kind) for kind in ErrorKind} - told) == []
