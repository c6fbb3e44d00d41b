"""Recognizers of the operator's own: what they find, and what is refused before it can do harm."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import regex

from llmops_resources.checks.custom import _runs_away, read_recognizers
from llmops_resources.checks.options import CustomRecognizer
from llmops_resources.checks.pii import PiiReport
from llmops_resources.checks.recognizers import pattern_rules
from llmops_resources.errors import InvalidInput

GOOD = r"""
[[recognizer]]
name = "employee number"
type = "EMPLOYEE_ID"
patterns = ['EMP-[0-9]{6}']
score = 0.2
context = ["사번"]
allow = ["EMP-000000"]

[[recognizer]]
name = "code names"
type = "SECRET_PROJECT"
deny = ["Project Bluebird"]

[[recognizer]]
name = "loyalty card"
type = "LOYALTY_CARD"
patterns = ['77[0-9]{8}']
validator = "luhn"
columns = ["note"]
"""


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "recognizers.toml"
    path.write_text(content)
    return path


def test_an_operators_recognizers_find_what_they_describe_and_stand_in_the_report(
    pii_of: Callable[..., PiiReport], tmp_path: Path
) -> None:
    mine = read_recognizers(written(tmp_path, GOOD))
    texts = ["사번 EMP-123456입니다", "EMP-123456 alone", "사번 EMP-000000", "about project bluebird.", "7700000008"]
    report = pii_of(texts, custom_recognizers=mine, blocking_types=("EMPLOYEE_ID",))
    assert report.by_type == {"EMPLOYEE_ID": 1, "SECRET_PROJECT": 1}
    assert report.status == "failed"
    assert report.coverage.custom_recognizers == ("employee number", "code names", "loyalty card")
    assert {"EMPLOYEE_ID", "SECRET_PROJECT"} <= set(report.coverage.recognizers)
    assert pii_of(texts, column="note", custom_recognizers=mine).by_type["LOYALTY_CARD"] == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("recognizer = 1", "tables"),
        ("[[recognizer]]\nname='a'\ntype='lower'\npatterns=['x']", "type"),
        ("[[recognizer]]\nname='a'\ntype='A_B'", "neither patterns nor a deny list"),
        ("[[recognizer]]\nname='a'\ntype='A_B'\npatterns=['(']", "not a regular expression"),
        ("[[recognizer]]\nname='a'\ntype='A_B'\npatterns=['x*']", "match everywhere"),
        ("[[recognizer]]\nname='a'\ntype='A_B'\npatterns=['x']\nvalidater='luhn'", "validater"),
        ("[[recognizer]]\nname='a'\ntype='A_B'\npatterns=['x']\nscore=2", "score"),
        ("[[recognizer]]\nname='a'\ntype='A_B'\npatterns=['x']\n" * 2, "used twice"),
        ("not toml", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        read_recognizers(written(tmp_path, content))
    assert "PII_RECOGNIZERS_FILE" in caught.value.remedy


@pytest.mark.parametrize("pattern", ["(a+)+$", "([a-z0-9]+)*@", r"(x|xx|x.)+y", r"(\s*,?)+;"])
def test_a_pattern_that_could_run_away_is_refused_in_bounded_time(tmp_path: Path, pattern: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidInput, match="too long on hostile text"):
        read_recognizers(written(tmp_path, f"[[recognizer]]\nname='a'\ntype='A_B'\npatterns=['{pattern}']"))
    assert time.monotonic() - began < 5


def test_a_rule_that_runs_out_of_time_leaves_the_scan_pending_and_the_others_run(
    pii_of: Callable[..., PiiReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_resources.checks.rules._SECONDS", 0.05)
    slow = CustomRecognizer(name="slow one", type="SLOW_ONE", patterns=("(a+)+$",))  # as if it had slipped in
    report = pii_of(["a" * 5_000 + "!"] * 3 + ["DE89370400440532013000"], custom_recognizers=(slow,))
    assert "slow one ran out of time" in report.detail
    assert report.by_type == {"IBAN_CODE": 1}
    unblocked = pii_of(["a" * 5_000 + "!"], custom_recognizers=(slow,))
    assert unblocked.status == "pending"


def test_our_own_patterns_pass_the_judgement_that_an_operators_must_pass() -> None:
    rules = pattern_rules(("KR", "US", "GB"))
    for recognizer in (rule.recognizer for rule in rules):
        for pattern in getattr(recognizer, "patterns", ()):
            assert not _runs_away(regex.compile(pattern.regex), pattern.regex), (recognizer.name, pattern.regex)
