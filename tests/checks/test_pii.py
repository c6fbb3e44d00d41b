from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources.checks.checksums import business_number, luhn, resident_number
from llmops_resources.checks.disguise import masked, undisguised
from llmops_resources.checks.pii import PiiReport, PiiStatus
from llmops_resources.checks.recognizers import pattern_rules
from llmops_resources.checks.spool import ColumnType

PiiOf = Callable[..., PiiReport]
FOUND = [
    ("메일은 kim@example.com입니다", "EMAIL_ADDRESS", "kim@example.com"),
    ("연락처는kim.lee+x@mail.example.co.kr", "EMAIL_ADDRESS", "kim.lee+x@mail.example.co.kr"),
    ("홍길동@example.com 으로", "EMAIL_ADDRESS", "홍길동@example.com"),
    ("번호는010-1234-5678입니다", "PHONE_NUMBER", "010-1234-5678"),
    ("01012345678로 주세요", "PHONE_NUMBER", "01012345678"),
    ("+82 10-1234-5678", "PHONE_NUMBER", "+82 10-1234-5678"),
    ("전화 02-312-3456", "PHONE_NUMBER", "02-312-3456"),
    ("call (212) 555-2368 now", "PHONE_NUMBER", "(212) 555-2368"),
    ("카드 4111-1111-1111-1111로", "CREDIT_CARD", "4111-1111-1111-1111"),
    ("2221000000000009을", "CREDIT_CARD", "2221000000000009"),
    ("378282246310005", "CREDIT_CARD", "378282246310005"),
    ("IBAN DE89370400440532013000.", "IBAN_CODE", "DE89370400440532013000"),
    ("서버 8.8.8.8에서", "IP_ADDRESS", "8.8.8.8"),
    ("at 2001:db8::8a2e:370:7334", "IP_ADDRESS", "2001:db8::8a2e:370:7334"),
    ("SSN 123-45-6789", "US_SSN", "123-45-6789"),
    ("my social security number is 123456789", "US_SSN", "123456789"),
    ("주민번호 900101-1234568입니다", "KR_RRN", "900101-1234568"),
    ("201231-3999999이며", "KR_RRN", "201231-3999999"),
    ("외국인등록번호 9001015123456", "KR_RRN", "9001015123456"),
    ("사업자 220-81-62517의", "KR_BRN", "220-81-62517"),
    ("사업자번호 2208162517", "KR_BRN", "2208162517"),
    ("면허 11-22-333333-44는", "KR_DRIVER_LICENSE", "11-22-333333-44"),
    ("서울 12-345678-90", "KR_DRIVER_LICENSE", "서울 12-345678-90"),
    ("여권번호 M12345678을", "KR_PASSPORT", "M12345678"),
    ("passport M123A4567", "KR_PASSPORT", "M123A4567"),
    ("신한은행 110-234-567890으로 입금", "KR_ACCOUNT", "110-234-567890"),
]
NOT_FOUND = [
    "user@host without a dot, a @ b.c, a@functools.cache",
    "4111 1111 1111 1112",
    "loopback 127.0.0.1, ::1, any 0.0.0.0, mask 255.255.255.0, a[::2]",
    "3.14159265358979 and 2024-01-15 12:30:45 and 1 2 3 4 5 6 7 8 9 10",
    "사업자 220-81-62518",
    "an order 110-234-567890 and a run 01-02-03",
    "ids 000-12-3456 and 987-65-4321",
    "M12345678 alone, 1234567890, 12345678901234567890",
    "DE89370400440532013001",
]


@pytest.mark.parametrize(("text", "kind", "match"), FOUND)
def test_personal_data_is_found_with_its_exact_place(pii_of: PiiOf, text: str, kind: str, match: str) -> None:
    report = pii_of(["nothing here", text])
    finding = next(f for f in report.findings if f.type == kind)
    assert (finding.row, text[finding.start : finding.end]) == (2, match)
    assert report.status is PiiStatus.FAILED


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_personal_data_is_left_alone(pii_of: PiiOf, text: str) -> None:
    report = pii_of([text])
    assert report.by_type == {}
    assert report.status is PiiStatus.CLEAN


@pytest.mark.parametrize(
    "text", ["ki\u200bm@exa\u200bmple.com", "１２３-45-6789", "010\u20111234\u20115678", "010\u00a01234\u00a05678"]
)
def test_invisible_characters_and_wide_digits_hide_nothing(pii_of: PiiOf, text: str) -> None:
    report = pii_of([text])
    assert report.status is PiiStatus.FAILED
    assert (report.findings[0].start, report.findings[0].end) == (0, len(text))


HIDDEN = [
    ("кim@ехample.com", "EMAIL_ADDRESS"),  # Cyrillic letters
    ("kim%40example.com", "EMAIL_ADDRESS"),
    ("kim&#64;example&#46;com", "EMAIL_ADDRESS"),
    ("𝗄𝗂𝗆@example.com", "EMAIL_ADDRESS"),
    ("٠١٠-١٢٣٤-٥٦٧٨", "PHONE_NUMBER"),
    ("a2ltQGV4YW1wbGUuY29tIDAxMC0xMjM0LTU2Nzg=", "EMAIL_ADDRESS"),  # base64
]


@pytest.mark.parametrize(("text", "kind"), HIDDEN)
def test_look_alikes_escapes_and_base64_hide_nothing(pii_of: PiiOf, text: str, kind: str) -> None:
    report = pii_of(["nothing", f"see {text} there"])
    finding = next(f for f in report.findings if f.type == kind)
    assert finding.row == 2
    assert 4 <= finding.start < finding.end <= 4 + len(text)


def test_an_escaped_line_end_in_json_hides_no_number(pii_of: PiiOf) -> None:
    text = '[{"role":"user","content":"call\\n010-1234-5678"}]'
    report = pii_of([text], kind=ColumnType.LIST)
    finding = report.findings[0]
    assert (finding.type, text[finding.start : finding.end]) == ("PHONE_NUMBER", "010-1234-5678")


def test_whole_numbers_that_a_gap_made_fractional_are_scanned(pii_of: PiiOf) -> None:
    assert pii_of([4111111111111111.0, None], kind=ColumnType.NUMBER).by_type == {"CREDIT_CARD": 1}
    assert pii_of(["4111111111111111.0", "1.5"], kind=ColumnType.NUMBER).by_type == {"CREDIT_CARD": 1}
    assert pii_of([0.5, 123456789.25], kind=ColumnType.NUMBER).coverage.columns == ()


def test_what_blocks_but_was_not_read_in_full_is_never_clean(pii_of: PiiOf) -> None:
    sampled = pii_of(["nothing", "at all"], ner_sample_rows=1, blocking_types=("PERSON",))
    assert (sampled.status, "1 of 2 rows" in sampled.detail) == (PiiStatus.PENDING, True)
    assert pii_of(["nothing"], ner_sample_rows=1, blocking_types=("PERSON",)).status is PiiStatus.CLEAN
    assert pii_of(["x" * 9], ner_sample_rows=1, ner_max_characters=5, blocking_types=("PERSON",)).detail
    assert "no recognizer" in pii_of(["x"], blocking_types=("KR_RNR",)).detail


@given(st.text(max_size=60))
def test_offsets_of_undisguised_text_lead_back_to_the_original(text: str) -> None:
    plain, offsets = undisguised(text)
    assert len(plain) == (len(text) if offsets is None else len(offsets))
    assert offsets is None or offsets == sorted(set(offsets))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FOUND), st.text("가나다 xyz.,\n", max_size=20), st.text("가나다 \n", max_size=20))
def test_the_prefilter_of_a_rule_never_hides_a_match(found: tuple[str, str, str], before: str, after: str) -> None:
    import polars as pl

    text = f"{before} {found[0]} {after}"
    for rule in pattern_rules(("KR", "US", "GB")):
        if rule.recognizer.analyze(text, [rule.entity], None):
            candidates = rule.candidates(0.01, named=False)
            assert candidates is not None
            assert pl.DataFrame({"text": [text]}).select(candidates).item()


def test_counts_include_repeated_cells_and_the_list_is_capped(pii_of: PiiOf) -> None:
    report = pii_of(["kim@example.com"] * 100 + [f"u{i}@example.com" for i in range(100)], findings_per_type=7)
    assert report.by_type == {"EMAIL_ADDRESS": 200}
    assert len(report.findings) == 7


def test_no_finding_shows_the_data_itself(pii_of: PiiOf) -> None:
    assert "1111" not in pii_of(["4111 1111 1111 1111"]).model_dump_json()
    assert masked("kim@example.com") == "k**@*******.**m"


def test_only_blocking_types_above_their_threshold_fail(pii_of: PiiOf) -> None:
    assert pii_of(["see https://python.org"]).status is PiiStatus.CLEAN
    assert pii_of(["kim@example.com"], blocking_types=("US_SSN",)).status is PiiStatus.CLEAN
    assert pii_of(["kim@example.com"], tolerated={"EMAIL_ADDRESS": 1}).status is PiiStatus.CLEAN
    assert pii_of(["see https://python.org"], blocking_types=("URL",)).status is PiiStatus.FAILED


def test_a_column_name_counts_as_context(pii_of: PiiOf) -> None:
    assert pii_of(["M12345678"], column="passport").by_type == {"KR_PASSPORT": 1}


def test_long_whole_numbers_are_scanned_like_text(pii_of: PiiOf) -> None:
    assert pii_of([4111111111111111]).by_type == {"CREDIT_CARD": 1}
    assert pii_of([1, 2, 3]).coverage.columns == ()


def test_names_are_found_in_a_deterministic_sample_and_do_not_block(pii_of: PiiOf) -> None:
    texts = [f"Barack Obama met Angela Merkel in Berlin, visit {i}." for i in range(30)]
    first, second = (pii_of(texts, ner_sample_rows=10, seed=3) for _ in range(2))
    assert first == second
    assert first.by_type["PERSON"] >= 10
    assert first.status is PiiStatus.CLEAN
    assert (first.coverage.rows_scanned_rules, first.coverage.rows_scanned_ner, first.coverage.total_rows) == (
        30,
        10,
        30,
    )
    assert pii_of(texts, ner_sample_rows=10, blocking_types=("PERSON",)).status is PiiStatus.FAILED


def test_a_missing_model_leaves_the_status_pending_and_downloads_nothing(pii_of: PiiOf) -> None:
    report = pii_of(["fine"], ner_sample_rows=1, spacy_model="no_such_model")
    assert report.status is PiiStatus.PENDING
    assert "no_such_model" in report.detail
    assert report.coverage.model is None


def test_cells_the_model_cannot_read_are_counted(pii_of: PiiOf) -> None:
    assert pii_of(["홍길동은 서울에 산다"], ner_sample_rows=1).coverage.ner_cells_skipped == 1


def test_checksums_agree_with_published_numbers() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert business_number("220-81-62517") is True
    assert business_number("220-81-62518") is False
    assert resident_number("900101-1234568") is True
    assert resident_number("900101-1234567") is None


def test_hostile_text_does_not_slow_the_patterns_down(pii_of: PiiOf) -> None:
    hostile = [
        "a" * 50_000 + "@",
        "a." * 25_000 + "@x",
        "x@" + "a-" * 25_000,
        "1-" * 25_000,
        "1 " * 25_000,
        ":" * 50_000,
        "한" * 50_000 + "@a.",
        "http://" * 7_000,
    ]
    assert pii_of(hostile).status is not PiiStatus.PENDING
