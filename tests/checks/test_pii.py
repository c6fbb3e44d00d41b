from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources.checks.checksums import business_number, luhn, resident_number
from llmops_resources.checks.disguise import masked, undisguised
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.pii import PiiReport, PiiStatus, check_pii
from llmops_resources.checks.recognizers import pattern_rules
from llmops_resources.checks.spool import ColumnType, Spool, SpooledColumn, SpooledFile

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
    (r"kim\u0040example.com", "EMAIL_ADDRESS"),
    (r"\uae40010-1234-5678", "PHONE_NUMBER"),
    ("k\u200bi\u00adm\ufeff@e\u2060xample.com", "EMAIL_ADDRESS"),
    ("4111\u200b1111\u200d1111\u20601111", "CREDIT_CARD"),
    ("９００１０１－１２３４５６８", "KR_RRN"),
    ("a2ltQGV4YW1wbGUuY29tIDAxMC0xMjM0LTU2Nzg=", "EMAIL_ADDRESS"),  # base64
]


@pytest.mark.parametrize(("text", "kind"), HIDDEN)
def test_look_alikes_escapes_and_base64_hide_nothing(pii_of: PiiOf, text: str, kind: str) -> None:
    report = pii_of(["nothing", f"see {text} there"])
    finding = next(f for f in report.findings if f.type == kind)
    assert finding.row == 2
    assert 4 <= finding.start < finding.end <= 4 + len(text)


SPLIT = [
    ({"front": ["900101", "850203"], "back": ["1234568", "2000000"]}, {"KR_RRN": 2}),
    ({"front": [900101, 850203], "back": [1234568, 2000000]}, {"KR_RRN": 2}),
    ({"a": ["010", "010"], "b": ["1234", "2345"], "c": ["5678", "6789"]}, {"PHONE_NUMBER": 2}),
    ({"w": ["4111"], "x": ["1111"], "y": ["1111"], "z": ["1111"]}, {"CREDIT_CARD": 1}),
]


@pytest.mark.parametrize(("columns", "found"), SPLIT)
def test_a_number_in_neighbouring_columns_is_found(
    scan_of: PiiOf, columns: dict[str, list[str]], found: dict[str, int]
) -> None:
    report = scan_of({**columns, "note": ["-"] * len(next(iter(columns.values())))})
    assert report.by_type == found
    assert report.findings[0].column == " + ".join(columns)
    assert report.findings[0].column in report.coverage.columns


@pytest.mark.parametrize(
    "columns",
    [
        {"year": ["2024", "2023"], "month": ["11", "10"], "day": ["12", "30"]},
        {"width": [1920, 1280], "height": [1080, 720]},
        {"area": [123, 321], "rooms": [45, 54], "built": [2014, 1999]},
        {"w": [312, 415], "h": [555, 480], "year": [2024, 2023]},
        {"front": ["900101"] + ["123456"] * 9, "other": ["1234568"] + ["7654321"] * 9},
    ],
)
def test_neighbouring_numbers_that_say_nothing_together_are_left_alone(
    scan_of: PiiOf, columns: dict[str, list[str]]
) -> None:
    assert scan_of(columns).by_type == {}


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


def test_a_cell_full_of_findings_takes_time_in_proportion(pii_of: PiiOf) -> None:
    many = " ".join(f"u{i}@example.com" for i in range(20_000))
    assert pii_of([many]).by_type == {"EMAIL_ADDRESS": 20_000}


def test_progress_is_told_part_by_part_and_every_row_is_read(scan_of: PiiOf) -> None:
    told: list[float] = []
    texts = [f"row {i}" for i in range(99)] + ["kim@example.com"]
    report = scan_of({"text": texts}, part_rows=10, progress=told.append)
    assert len(told) == 11
    assert told == sorted(told)
    assert told[-1] == 1
    assert report.coverage.rows_scanned_rules == report.coverage.total_rows == 100
    assert [(finding.type, finding.row) for finding in report.findings] == [("EMAIL_ADDRESS", 100)]


def test_rows_that_could_not_be_read_are_never_called_clean(tmp_path: Path) -> None:
    spool = Spool(
        folder=tmp_path,
        files=(SpooledFile(name="x.csv", rows=1, skipped=(2, 3, 4)),),
        columns=(SpooledColumn(name="a", type=ColumnType.STRING),),
    )
    pl.DataFrame({"a": ["fine"]}).write_parquet(tmp_path / "part-000000.parquet")
    report = check_pii(spool, CheckOptions(ner_sample_rows=0))
    assert (report.status, report.coverage.total_rows, report.coverage.rows_scanned_rules) == (PiiStatus.PENDING, 4, 1)
    assert "3 rows cannot be read" in report.detail


def test_an_account_number_in_small_letters_is_found_too(pii_of: PiiOf) -> None:
    assert pii_of(["to de89370400440532013000."]).by_type == {"IBAN_CODE": 1}
    assert pii_of(["to de89370400440532013001."]).by_type == {}
