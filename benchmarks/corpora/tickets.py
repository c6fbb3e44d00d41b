"""Support tickets in English and Korean with the exact places of their personal data: the labelled set of `pii_scan`.

Everything is generated from a seed. Numbers that carry a checksum carry a right one; look-alikes (order numbers,
versions, amounts, failed checksums) are in the texts too and have no label.
"""

# ruff: noqa: E501 - lists of words
import random
import re
from collections.abc import Callable
from typing import NamedTuple

import phonenumbers


class Label(NamedTuple):
    type: str
    start: int
    end: int


class Ticket(NamedTuple):
    text: str
    labels: tuple[Label, ...]
    korean: bool


_FIRST = ["Olivia", "Liam", "Emma", "Noah", "Ava", "Ethan", "Sophia", "Lucas", "Mia", "Henry", "Grace", "Oscar", "Chloe", "Daniel", "Zoe", "Samuel", "Nina", "Victor", "Priya", "Ahmed", "Ingrid", "Mateo", "Yuki", "Fatima"]
_LAST = ["Carter", "Whitfield", "Novak", "Okafor", "Lindqvist", "Marsh", "Delgado", "Sato", "Bennett", "Hughes", "Petrov", "Rossi", "Kowalski", "Nguyen", "Fischer", "Adeyemi", "Larsen", "Shah", "Moreau", "Quinn"]
_KR_LAST = ["김", "이", "박", "최", "정", "강", "조", "윤", "장", "임", "한", "오", "서", "신", "권", "황", "안", "송", "홍"]
_KR_FIRST = ["민수", "지훈", "서연", "하은", "도윤", "예진", "준호", "수빈", "현우", "지민", "은주", "상철", "미영", "영호", "다은"]
_CITIES = ["London", "Chicago", "Toronto", "Berlin", "Madrid", "Sydney", "Boston", "Dublin", "Seattle", "Nairobi"]
_COMPANIES = ["Northwind Traders", "Globex Corporation", "Initech", "Acme Logistics", "Hooli", "Umbrella Health", "Stark Industries"]
_DOMAINS = ["example.com", "mail.example.org", "contoso.co.uk", "example.co.kr", "corp.example.net", "naver.com"]

_OPENINGS = (
    "Hi team, {PERSON} from {ORGANIZATION} called on {DATE_TIME} about an invoice that was charged twice.",
    "Hello, my name is {PERSON} and I moved to {LOCATION} last month, so my account needs a new address.",
    "Customer {PERSON} wrote to us from {EMAIL_ADDRESS} and asked for a refund of 49.90 for order 2024-118-7731.",
    "Dear support, since the update to version 10.4.2 the app closes itself whenever I open the settings page.",
    "{PERSON} and {PERSON} both report that the export hangs at 93 % and never writes the file to the shared drive.",
    "The warehouse in {LOCATION} could not scan parcel 1Z-884-22-9911, and the driver from {ORGANIZATION} had to leave.",
    "We have not heard back from your billing department since {DATE_TIME} although we sent three reminders.",
)
_MIDDLES = (
    "Please call back at {PHONE_NUMBER} or write to {EMAIL_ADDRESS}, preferably before noon.",
    "Her mobile is {PHONE_NUMBER}; the office line rang out twice.",
    "Payment was made with card {CREDIT_CARD}, the statement shows it twice.",
    "The refund should go to {IBAN_CODE} and not to the card {CREDIT_CARD}.",
    "For verification the caller gave social security number {US_SSN} and the last invoice amount, 118.20.",
    "The login came from {IP_ADDRESS}, which the customer does not know, at 03:12 in the morning.",
    "There was no error message, only a blank page; clearing the cache and trying another browser did not help.",
    "We tried a restart, a reinstall and another cable, and the lamp still blinks four times and stays red.",
    "The ticket was first opened as 4111 1111 1111 1112 by mistake, which is not a card but a reference.",
    "Batch 20240117-000482 finished with 14 warnings, checksum 9f86d081884c7d65, in 1234567890 milliseconds.",
    "As of now the queue holds 1,204 jobs and the oldest one has been waiting for six hours.",
    "You can reach me on {PHONE_NUMBER}.",
)
_ENDINGS = (
    "Thanks, {PERSON}",
    "Best regards, {PERSON}, {ORGANIZATION}",
    "Please treat this as urgent.",
    "Let us know when it is fixed, we would like to close this on our side too.",
    "Contact: {EMAIL_ADDRESS}, {PHONE_NUMBER}",
    "",
)
_KR_OPENINGS = (
    "안녕하세요, {PERSON}입니다. 지난주 결제 건으로 문의드립니다.",
    "고객 {PERSON}님이 {EMAIL_ADDRESS}으로 환불을 요청하셨습니다.",
    "{PERSON} 고객님께서 {PHONE_NUMBER}로 전화 주셨습니다.",
    "앱을 10.4.2 버전으로 올린 뒤로 설정 화면이 열리지 않습니다.",
)
_KR_MIDDLES = (
    "연락처는 {PHONE_NUMBER}이고 메일은 {EMAIL_ADDRESS}입니다.",
    "카드번호 {CREDIT_CARD}로 두 번 결제되었습니다.",
    "주민등록번호 {KR_RRN}을 확인해 주세요.",
    "사업자등록번호는 {KR_BRN}입니다.",
    "운전면허번호 {KR_DRIVER_LICENSE}로 본인 확인을 했습니다.",
    "여권번호는 {KR_PASSPORT}이며 재발급 예정입니다.",
    "환불은 국민은행 계좌 {KR_ACCOUNT}로 부탁드립니다.",
    "접속 주소는 {IP_ADDRESS}에서 확인되었습니다.",
    "주문번호 2024-118-7731은 아직 배송 전이며 금액은 49,900원입니다.",
    "오류 메시지 없이 빈 화면만 나오고, 다시 설치해도 같은 증상이 반복됩니다.",
    "지난 3월 12일 14시 30분경부터 로그인이 되지 않았고 20240312-000118 건이 대기 중입니다.",
)
_FOUND_BY_MODEL = {"PERSON", "ORGANIZATION", "LOCATION", "DATE_TIME"}
_KR_ENDINGS = ("감사합니다. {PERSON} 드림", "빠른 확인 부탁드립니다.", "문의: {EMAIL_ADDRESS}", "")


def card_number(prefix: str, length: int, r: random.Random) -> str:
    """Digits that begin with `prefix` and are right by Luhn."""
    body = prefix + "".join(r.choices("0123456789", k=length - len(prefix) - 1))
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def _card(r: random.Random) -> str:
    prefix, length = r.choice([("4", 16), ("51", 16), ("2231", 16), ("2720", 16), ("37", 15), ("6011", 16), ("3056", 14), ("3528", 16), ("9410", 16)])
    digits = card_number(prefix, length, r)
    groups = (4, 6, 5) if length == 15 else (4, 6, 4) if length == 14 else (4, 4, 4, 4)
    parts, at = [], 0
    for size in groups:
        parts.append(digits[at : at + size])
        at += size
    return r.choice(["", " ", "-"]).join(parts)


def iban_number(r: random.Random) -> str:
    """A German account number with right check digits."""
    bban = "".join(r.choices("0123456789", k=18))
    check = 98 - int(bban + "131400") % 97
    return f"DE{check:02}{bban}"


def _phone(r: random.Random) -> str:
    region = r.choice(["US", "US", "US", "GB", "GB", "DE", "FR", "KR"])
    while True:
        area, exchange, line = r.choice(["212", "415", "312", "617", "206"]), r.randint(200, 999), r.randint(0, 9999)
        national = {
            "US": f"{area}{exchange}{line:04}", "GB": f"7{r.randint(400, 599)}{r.randint(100000, 999999)}",
            "DE": f"30{r.randint(1000000, 9999999)}", "FR": f"1{r.randint(40000000, 49999999)}",
            "KR": f"10{r.randint(20000000, 99999999)}",
        }[region]  # fmt: skip
        number = phonenumbers.parse(national, region)
        if phonenumbers.is_valid_number(number):
            break
    style = phonenumbers.PhoneNumberFormat
    abroad = phonenumbers.format_number(number, style.INTERNATIONAL)
    if region == "US":
        return r.choice([
            abroad, f"({area}) {exchange}-{line:04}", f"{area}-{exchange}-{line:04}", f"{area}.{exchange}.{line:04}",
            f"{area} {exchange} {line:04}", f"+1 {area}.{exchange}.{line:04}", f"1-{area}-{exchange}-{line:04}",
            f"+1{national}", f"001-{area}-{exchange}-{line:04}", f"({area}){exchange}-{line:04}", national,
        ])  # fmt: skip
    if region in {"GB", "KR"}:
        home = phonenumbers.format_number(number, style.NATIONAL)
        return r.choice([abroad, home, home.replace(" ", "").replace("-", ""), abroad.replace(" ", "")])
    return abroad


def _korean_phone(r: random.Random) -> str:
    mobile, line = f"{r.randint(2000, 9999)}", f"{r.randint(0, 9999):04}"
    return r.choice([
        f"010-{mobile}-{line}", f"010{mobile}{line}", f"010 {mobile} {line}", f"010.{mobile}.{line}",
        f"+82 10-{mobile}-{line}", f"02-{r.randint(300, 999)}-{line}", f"031-{r.randint(300, 899)}-{line}",
        f"070-{mobile}-{line}", f"+82-10-{mobile}-{line}", f"1588-{line}",
    ])  # fmt: skip


def _resident(r: random.Random) -> str:
    digits = f"{r.randint(50, 99)}{r.randint(1, 12):02}{r.randint(1, 28):02}{r.choice('12')}{r.randint(0, 99999):05}"
    total = sum(w * int(d) for w, d in zip((2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), digits, strict=True))
    return f"{digits[:6]}{r.choice(['-', '-', ''])}{digits[6:]}{(11 - total % 11) % 10}"


def _business(r: random.Random) -> str:
    digits = f"{r.randint(100, 899)}{r.randint(10, 89)}{r.randint(0, 9999):04}"
    weighted = [w * int(d) for w, d in zip((1, 3, 7, 1, 3, 7, 1, 3, 5), digits, strict=True)]
    check = (10 - (sum(weighted) + weighted[8] // 10) % 10) % 10
    return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}{check}"


def _slots(r: random.Random, *, korean: bool) -> dict[str, Callable[[], str]]:
    person = (
        (lambda: r.choice(_KR_LAST) + r.choice(_KR_FIRST)) if korean
        else (lambda: f"{r.choice(_FIRST)} {r.choice(_LAST)}" if r.random() < 0.8 else r.choice(_FIRST))
    )  # fmt: skip
    return {
        "PERSON": person,
        "ORGANIZATION": lambda: r.choice(_COMPANIES),
        "LOCATION": lambda: r.choice(_CITIES),
        "DATE_TIME": lambda: r.choice(["Monday", "March 3", "12 May 2024", "yesterday", "last Friday", "2024-03-11"]),
        "EMAIL_ADDRESS": lambda: f"{r.choice(_FIRST).lower()}.{r.choice(_LAST).lower()}{r.randint(1, 99)}@{r.choice(_DOMAINS)}",
        "PHONE_NUMBER": lambda: _korean_phone(r) if korean else _phone(r),
        "CREDIT_CARD": lambda: _card(r),
        "IBAN_CODE": lambda: iban_number(r),
        "IP_ADDRESS": lambda: ".".join(str(r.randint(128, 223)) for _ in range(4)),
        "US_SSN": lambda: f"{r.randint(100, 665)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}",
        "KR_RRN": lambda: _resident(r),
        "KR_BRN": lambda: _business(r),
        "KR_DRIVER_LICENSE": lambda: f"{r.randint(11, 26)}-{r.randint(10, 24)}-{r.randint(100000, 999999)}-{r.randint(10, 99)}",
        "KR_PASSPORT": lambda: f"M{r.randint(10000000, 99999999)}",
        "KR_ACCOUNT": lambda: f"{r.randint(100000, 999999)}-{r.randint(10, 99)}-{r.randint(100000, 999999)}",
    }


def filled(template: str, slots: dict[str, Callable[[], str]]) -> tuple[str, list[Label]]:
    """The template with its slots filled, and where they are."""
    text, labels = "", []
    for piece in re.split(r"(\{[A-Z_]+\})", template):
        if piece.startswith("{"):
            kind = piece[1:-1]
            value = slots[kind]()
            labels.append(Label(kind, len(text), len(text) + len(value)))
            text += value
        else:
            text += piece
    return text, labels


def _named_only(templates: tuple[str, ...]) -> tuple[str, ...]:
    """The templates without personal data that a pattern could find; look-alikes stay."""
    return tuple(t for t in templates if set(re.findall(r"\{([A-Z_]+)\}", t)) <= _FOUND_BY_MODEL)


def tickets(count: int, seed: int, *, korean_share: float = 0.12, personal_share: float = 1.0) -> list[Ticket]:
    """`count` different-looking tickets, about 340 characters each.

    Of those outside `personal_share` the personal data is names, places and dates at most.
    """
    r = random.Random(seed)
    made = []
    for _ in range(count):
        korean = r.random() < korean_share
        parts_of = (_KR_OPENINGS, _KR_MIDDLES, _KR_ENDINGS) if korean else (_OPENINGS, _MIDDLES, _ENDINGS)
        if personal_share < 1 and r.random() >= personal_share:
            parts_of = tuple(map(_named_only, parts_of))
        openings, middles, endings = parts_of
        parts = [r.choice(openings), *r.sample(middles, 3), r.choice(endings)]
        text, labels = filled(" ".join(part for part in parts if part), _slots(r, korean=korean))
        made.append(Ticket(text, tuple(labels), korean))
    return made
