"""The scan for patterns finds what Presidio's engine finds with the same recognizers, whatever it skips."""

# ruff: noqa: E501 - lists of numbers and words
import random
from collections.abc import Sequence

import phonenumbers
import polars as pl
import pytest
import regex
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NoOpNlpEngine

from llmops_resources.checks.custom import custom_rules
from llmops_resources.checks.hits import Hit, merged
from llmops_resources.checks.options import CustomRecognizer
from llmops_resources.checks.phones import PhoneNumbers
from llmops_resources.checks.prefilters import superset
from llmops_resources.checks.recognizers import pattern_rules
from llmops_resources.checks.rules import CheckedPatterns, Rule
from llmops_resources.checks.scan import PatternScan

REGIONS = ("KR", "US", "GB")
SEPARATORS = ("", "", " ", "-", ".", "/", ") ", " (", "  ", " - ", "--", "-----", ")-(", ". ", " / ")
PREFIXES = (
    "", "", "0", "00", "1", "1-", "11", "+", "(+", "+82 ", "+82 0", "82", "820", "8200", "0082", "00182-", "+44 (0) ", "44",
    "440", "0044", "01144", "+1 ", "+1-1-", "001-", "011", "011 82 ", "tel:", "tel:+82-", "(0", "18002", "0800", "003", "+49",
    "+33 ", "0049", "080", "0825", "02", "031-",
)  # fmt: skip
SUFFIXES = ("", "", " x123", " ext. 45", ";ext=7", ",,9", "#12", " 내선 3", "입니다", "abc", ".", "/", ")", ":30", "%", "€", "-", "-1")
WORDS = ("call", "tel", "전화", "hotel", "문의는", "at", "on", "12/3/2020", "2012-01-02 08:00", "20120102 08", "\n", "…", "①")


def number(rng: random.Random) -> str:
    region = rng.choice(("KR", "US", "GB", "DE", "FR", "CA", "GG", "BR", "AR", "JP", "IT"))
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.UAN)
    shown = phonenumbers.example_number_for_type(region, rng.choice(kinds)) or phonenumbers.example_number(region)
    digits = list(phonenumbers.national_significant_number(shown))
    for _ in range(rng.choice((0, 0, 1, 4))):
        digits[rng.randrange(len(digits))] = rng.choice("0123456789")
    groups, rest = [], "".join(digits)
    while rest:
        size = rng.choice((1, 2, 3, 3, 4, 4, 5, 12))
        groups.append(rest[:size])
        rest = rest[size:]
    written = rng.choice(SEPARATORS).join(groups) if rng.random() < 0.7 else "".join(g + rng.choice(SEPARATORS) for g in groups)
    if rng.random() < 0.3:
        style = rng.choice((phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.INTERNATIONAL))
        written = phonenumbers.format_number(shown, style)
    if rng.random() < 0.05:
        written = written.translate({ord(str(d)): chr(0xFF10 + d) for d in range(10)})
    return rng.choice(PREFIXES) + written + rng.choice(SUFFIXES)


def phone_text(rng: random.Random) -> str:
    pieces = [number(rng) if rng.random() < 0.6 else rng.choice(WORDS) for _ in range(rng.randint(1, 5))]
    return rng.choice((" ", " ", " ", "", ", ", "/", "\n")).join(pieces)


def as_presidio(recognizer: CheckedPatterns | PhoneNumbers, text: str, least: float) -> list[Hit]:
    """By Presidio's own steps, with the recognizer as Presidio runs it."""
    found = recognizer.analyze(text, recognizer.supported_entities, None)
    found = recognizer.enhance_using_context(text, found, [], None, None)
    kept = EntityRecognizer.remove_duplicates([hit for hit in found if hit.score >= least])
    return sorted(Hit(hit.entity_type, hit.start, hit.end, hit.score) for hit in kept)


def as_ours(rules: Sequence[Rule], texts: list[str], least: float) -> list[list[Hit]]:
    found = PatternScan(rules, least).scan(pl.Series("text", texts, pl.String))
    return [sorted(found.get(index, [])) for index in range(len(texts))]


@pytest.mark.parametrize(
    "regions", [REGIONS, ("DE", "FR", "CA"), ("BR", "GG"), ("JP", "AR", "IT")], ids="-".join
)
def test_phone_numbers_are_those_of_libphonenumber_unhurried(regions: tuple[str, ...]) -> None:
    rng = random.Random("-".join(regions))
    texts = [phone_text(rng) for _ in range(1_500)]
    recognizer = PhoneNumbers(regions)
    for least in (0.05, 0.4):
        ours = as_ours([Rule("PHONE_NUMBER", recognizer)], texts, least)
        theirs = [as_presidio(recognizer, text, least) for text in texts]
        assert sum(map(len, theirs)) > 300
        assert [(text, row) for text, row in zip(texts, ours, strict=True)] == [*zip(texts, theirs, strict=True)]


@settings(max_examples=300, deadline=None)
@example("0010-1234-5678")
@example("00-02-312-3456")
@example("82 0 10-1234-5678")
@example("+82 (0)10-1234-5678")
@example("010-----1234-5678 (02) 312-3456")
@given(st.text("0123456789 ()-./+", min_size=6, max_size=30))
def test_runs_of_digits_and_marks_are_read_as_libphonenumber_reads_them(text: str) -> None:
    recognizer = PhoneNumbers(REGIONS)
    assert as_ours([Rule("PHONE_NUMBER", recognizer)], [text], 0.05) == [as_presidio(recognizer, text, 0.05)]


FRAGMENTS = (
    "kim@example.com", "a@b.co.kr", "홍길동@example.com", "x@y", "4111-1111-1111-1111", "4111 1111 1111 1112", "2221000000000009",
    "DE89370400440532013000", "DE89 3704 0044 0532 0130 01", "8.8.8.8", "2001:db8::8a2e:370:7334", "123-45-6789", "123 45 6789",
    "123456789", "900101-1234568", "9001015123456", "900101 - 1234567", "220-81-62517", "2208162517", "11-22-333333-44",
    "112233333344", "서울 12-345678-90", "M12345678", "m123a4567", "110-234-567890", "12345678901", "https://x.example/y?z=1",
    "010-1234-5678", "01012345678", "social", "SSN", "hotel", "주민", "rrn", "사업자", "면허", "driver", "licence", "여권",
    "성명: ", "김민수", "님", "고객 ", "감사합니다. ", " 드림", "안녕하세요, ", "입니다.", "My name is ", "Ágnes", "Dr. ", "Hi ", "Sofia,",
    "call me on ", "06-82237745", "+41 (0)27 240 04 99", " office", "전화번호는 ", "501803075628",
    "passport", "계좌", "bank", "BANK", "resident", "registration", "İban", "ſecurity", "K", "é", "입니다", "-", ".", "\n",
)  # fmt: skip


def test_findings_equal_those_of_presidios_engine_on_thousands_of_texts() -> None:
    rng = random.Random(11)
    texts = [
        rng.choice((" ", " ", "", "-", "\n")).join(rng.choices(FRAGMENTS, k=rng.randint(1, 8)))
        + ("x" * rng.randint(0, 60) + rng.choice(FRAGMENTS) if rng.random() < 0.3 else "")
        for _ in range(3_000)
    ]
    rules = pattern_rules(REGIONS)
    engine = AnalyzerEngine(
        registry=RecognizerRegistry([rule.recognizer for rule in rules]),
        nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}]),
    )
    theirs = [
        sorted(Hit(h.entity_type, h.start, h.end, h.score) for h in engine.analyze(text, "en", score_threshold=0.4))
        for text in texts
    ]
    assert {hit.entity for row in theirs for hit in row} == {rule.entity for rule in rules}
    for text, ours, row in zip(texts, as_ours(rules, texts, 0.4), theirs, strict=True):
        assert (text, ours) == (text, row)


def test_a_columns_name_raises_the_same_scores_in_both() -> None:
    texts = ["M12345678", "123456789", "2208162517", "x"]
    rules = pattern_rules(REGIONS)
    engine = AnalyzerEngine(
        registry=RecognizerRegistry([rule.recognizer for rule in rules]),
        nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}]),
    )
    for column in ("passport", "ssn", "사업자번호", "note"):
        found = PatternScan(rules, 0.4).scan(pl.Series(texts), column)
        for index, text in enumerate(texts):
            theirs = engine.analyze(text, "en", score_threshold=0.4, context=[column])
            assert sorted(found.get(index, [])) == sorted(Hit(h.entity_type, h.start, h.end, h.score) for h in theirs)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 6), st.integers(1, 6), st.sampled_from((0.4, 0.6, 1.0)))))
def test_overlaps_are_settled_as_presidio_settles_them(raw: list[tuple[str, int, int, float]]) -> None:
    from presidio_analyzer import RecognizerResult

    hits = [Hit(kind, start, start + length, score) for kind, start, length, score in raw]
    theirs = EntityRecognizer.remove_duplicates([RecognizerResult(*hit) for hit in hits])
    assert sorted(merged(hits)) == sorted(Hit(h.entity_type, h.start, h.end, h.score) for h in theirs)


OWN = (
    r"EMP-[0-9]{6}", r"(?<![0-9])[A-Z]{2}\d{3,40}(?!\d)", r"(?i)id[ :#]*(\w{4})-\1", r"(?<!x)[^\W\d_]{3}[-/]\d+\b", r"^ref\s+\S+$",
    r"(?i:straße|kÉy)\W?[0-9]++", r"[^ab]{2}c(?=\d)", r"(?:ab|cd(?:e|f){2,})+?g", r"(?P<a>x)(?>y+)z(?P=a)", r"[]x-]{3}",
    r"가[나-다]?라(?!마|[0-9])", r"(?s).x.", r"\x41\u00e9?\t",
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(OWN), st.text("aA1-é가 ", max_size=4), st.text("1x-éA마 ", max_size=4))
def test_what_a_pattern_matches_its_prefilter_lets_through(
    data: st.DataObject, pattern: str, before: str, after: str
) -> None:
    text = before + data.draw(st.from_regex(pattern)) + after
    where = superset([pattern])
    assert where is not None
    if regex.search(pattern, text):
        assert pl.Series([text]).str.contains(where).item()


@settings(max_examples=300, deadline=None)
@given(st.text("aAkKıİſsSéÉ1-_ x가\n", max_size=12))
def test_a_prefilter_never_hides_a_match_in_odd_letters(text: str) -> None:
    for pattern in (r"(?i)k\w", r"(?i:s)1", r"(?i)[a-k]-", r"(?i)[^x]É", r"i(?i:i)", r"\w\W", r"[^é]\s", r"\bka?\b"):
        where = superset([pattern])
        if regex.search(pattern, text) and where is not None:
            assert pl.Series([text]).str.contains(where).item(), (pattern, where)


@pytest.mark.parametrize(
    "pattern", [r"(?:foo){e<=1}", r"[[:alpha:]]{3}", r"\p{Lu}x", r"[a--b]c", r"x*", r"(?r)ab", "(", r"(?x) a b"]
)
def test_a_pattern_that_cannot_be_translated_filters_nothing(pattern: str) -> None:
    assert superset([pattern]) is None
    assert superset(["abc", pattern]) is None


def test_an_operators_recognizer_reads_only_where_it_can_match(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    find = CheckedPatterns.find
    monkeypatch.setattr(CheckedPatterns, "find", lambda self, text, **how: read.append(text) or find(self, text, **how))
    mine = custom_rules([CustomRecognizer(name="n", type="EMPLOYEE_ID", patterns=("EMP-[0-9]{6}",), deny=("Ace",))])
    found = PatternScan(mine, 0.4).scan(pl.Series(["nothing", "EMP-123456", "an ACE", "EMP-12", "space"]))
    assert sorted(found) == [1, 2]
    assert set(read) == {"EMP-123456", "an ACE", "space"}


def test_every_built_in_rule_has_a_prefilter() -> None:
    for rule in pattern_rules(REGIONS):
        assert all(shape.where for shape in rule.recognizer.shapes), rule.entity
        assert rule.candidates(0.4, named=False) is not None


