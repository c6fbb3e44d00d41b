"""Names and numbers that the words beside them give away, and what looks like them."""

# ruff: noqa: E501 - texts as they are
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_resources.checks.pii import PiiReport
from llmops_resources.checks.recognizers import pattern_rules

PiiOf = Callable[..., PiiReport]
NAMED = [
    ("Hello, my name is Sofia and I moved", "Sofia"),
    ("My name is Ágnes O'Brien-Kovács.", "Ágnes O'Brien-Kovács"),
    ("Name:    Sigtryggur van der Berg\nAddress: x", "Sigtryggur van der Berg"),
    ("talk to Dr. Jane R. Miller, please", "Jane R. Miller"),
    ("Hi Keiran, I'm contacting you", "Keiran"),
    ("Best regards, Olivia Carter", "Olivia Carter"),
    ("성명: 홍길동, 나이 30", "홍길동"),
    ("고객 김민수의 요청", "김민수"),
    ("예금주는 박서연이며", "박서연"),
    ("어제 이지훈님께서 전화하셨습니다", "이지훈"),
    ("안녕하세요, 최도윤입니다.", "최도윤"),
    ("감사합니다. 남궁민수 드림", "남궁민수"),
]
UNNAMED = [
    "Dear Customer, Hi Team, Hello World! Dear Sir or Madam,",
    "Company name: Acme Logistics and product name: Big Box",
    "my name is not on the list, his name is unknown",
    "This is Important. I am Here. Please ask Support.",
    "이용자님, 구매자님, 신청자 이름을 적어 주세요. 고객센터입니다.",
    "이메일입니다. 주문번호는 다음과 같습니다. 담당자에게 전달했습니다.",
    "성명과 이름을 모두 입력하세요. 회원 정보를 확인하고 고객 지원에 문의하세요.",
    "정상적으로 처리되었고 이번 주문 고객 안내를 드립니다. 선생님 감사합니다.",
]


@pytest.mark.parametrize(("text", "name"), NAMED)
def test_a_name_is_found_by_what_stands_beside_it(pii_of: PiiOf, text: str, name: str) -> None:
    findings = [f for f in pii_of([text]).findings if f.type == "PERSON"]
    assert [text[f.start : f.end] for f in findings] == [name]


@pytest.mark.parametrize("text", UNNAMED)
def test_words_that_are_no_names_are_left_alone(pii_of: PiiOf, text: str) -> None:
    assert "PERSON" not in pii_of([text]).by_type


def test_korean_names_are_found_in_tickets_and_nothing_else_is() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        from corpora.tickets import tickets
    finally:
        sys.path.pop(0)
    korean = next(rule.recognizer for rule in pattern_rules(()) if rule.recognizer.name == "Korean names")
    labels = found = wrong = 0
    for ticket in tickets(400, 9, korean_share=1):
        spans = [(label.start, label.end) for label in ticket.labels if label.type == "PERSON"]
        hits = [hit[:2] for hit in korean.find(ticket.text, named=False, least=0.4)]
        labels += len(spans)
        found += len(set(spans) & set(hits))
        wrong += len(set(hits) - set(spans))
    assert found > 0.95 * labels > 100
    assert wrong == 0


def test_a_name_that_pattern_and_model_find_counts_once(pii_of: PiiOf) -> None:
    report = pii_of(["My name is Angela Merkel and I met Barack Obama."], ner_sample_rows=1)
    assert report.by_type["PERSON"] == 2


CALLED = [
    ("Can someone call me on 06-82237745? I wait", "06-82237745"),
    ("Phone: 0383 6399470", "0383 6399470"),
    ("Fax +41 (0)27 240 04 99.", "+41 (0)27 240 04 99"),
    ("650-752-7354x549 mobile", "650-752-7354x549"),
    ("reach me at (894)134-3524 today", "(894)134-3524"),
    ("연락처는 051-123-45678입니다", "051-123-45678"),
    ("call\\n010-1234-5678\\nnow", "010-1234-5678"),
]


@pytest.mark.parametrize(("text", "number"), CALLED)
def test_a_number_that_one_is_told_to_call_is_a_phone_number(pii_of: PiiOf, text: str, number: str) -> None:
    findings = [f for f in pii_of([text]).findings if f.type == "PHONE_NUMBER"]
    assert [text[f.start : f.end] for f in findings] == [number]


@pytest.mark.parametrize(
    "text", ["during 12345678 runs", "hotel 12345678, Excel 12345678", "call me at 10:30 on 2024-11-12", "call us on 12/05/2024", "mobile phones sold 3 in 2019-2020", "fax at 12"]
)
def test_dates_and_times_beside_such_words_are_no_phone_numbers(pii_of: PiiOf, text: str) -> None:
    assert "PHONE_NUMBER" not in pii_of([text]).by_type


@pytest.mark.parametrize(
    "card", ["501803075628", "5018 0307 5628", "180044956213722", "2720990000000007", "4111-1111-1111-1111", "6759 5626 3684"]
)
def test_cards_of_other_lengths_and_ranges_are_found(pii_of: PiiOf, card: str) -> None:
    assert pii_of([f"카드 {card}로"]).by_type == {"CREDIT_CARD": 1}


def test_names_do_not_slow_down_on_hostile_text(pii_of: PiiOf) -> None:
    rng = random.Random(1)
    hostile = [
        "Name: " * 8_000,
        "my name is " + "Aa " * 16_000,
        "Dr. " * 12_000 + "A",
        "call me on " * 4_000,
        "call me on " + "1 " * 25_000,
        "(1) " * 12_000 + "office",
        "김민수님" * 12_000,
        "고객 " * 20_000,
        "".join(rng.choices("가김민수님 :", k=50_000)),
    ]
    report = pii_of(hostile)
    assert "ran out of time" not in report.detail
