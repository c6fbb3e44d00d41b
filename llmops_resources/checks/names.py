"""Names of persons by what stands next to them, over every row: the language model reads a sample, and English only.

Conservative: no name is found by itself. In English a title, a salutation or an introduction stands before it. In
Korean a surname of the hundred or so in use, and two syllables that given names are made of, have a word for a person
before them ("성명:", "고객") or after them ("님", "씨", "드림").
"""

# ruff: noqa: E501 - lists of words
from collections.abc import Sequence

from llmops_resources.checks.rules import CheckedPatterns, Rule

_SURNAMES = (
    "김이박최정강조윤장임한오서신권황안송류유전홍고문양손배백허남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석선"
    "설마길연위표명기반왕금옥육인맹제모탁국어은편용"
)
_LONG_SURNAMES = "남궁|황보|제갈|선우|독고|사공|서문"
_GIVEN = (
    "가강건겸경고관광교구국권규균그근금기길나남노다단달담대덕도동두라람래려련렬령례로록루률름리린림마만명모목무묵문미민"
    "바반방배백범별병보복봉부빈사산삼상새샘서석선설섭성세소솔송수숙순슬승시식신심아안애양언여연열엽영예오옥온완요용우욱"
    "운웅원월위유윤율은을음의이익인일임자장재전정제조종주준중지진찬창채천철청초춘충치태택표필하학한해향헌혁현형혜호홍화"
    "환회효훈휘희흥"
)
# Nouns that a particle makes look like a name.
_NOUNS = frozenset(
    """
    주문 주소 주제 주의 이용 이름 이번 이전 이유 이상 이동 이체 이미 이후 이내 조건 조회 조사 조치 변경 정산 정보 정상 정책 정도 방문 방법
    신청 신용 신규 지원 지금 지정 지역 지급 구성 구매 구분 강연 고정 고장 공연 공지 공유 국민 국내 기본 기존 기간 문의 문제 안내 안전 연락 연결
    성명 성인 성별 전화 전체 전송 전부 선택 선물 유형 유효 인증 인원 금액 장비 임시 최소 최대 최종 최근 설정 설명 원본 원인 함수 현재 소유 마지막
    여부 여러 하나 반복 반품 반환 명령 우선 우편 민원 진행 엄격 차이 차단 표시 표준 도움 모든 모두 모양 어떤 남은 손상 배송 백업 허용 심사
    """.split()  # noqa: SIM905 - a list of words
)
_PARTICLES = "은이인도을의만한자"
_NO_NAMES = frozenset(
    """
    문자열 이용자 이용객 이용료 구매자 신청자 신청인 주문자 방문자 방문객 문의자 유권자 소유자 소비자 성인용 여행자 여행사 여성용 남성용 남용자 운영자 정회원 준회원 공무원 공동체 위원회 위원장
    조합원 조합장 지원자 지도자 기술자 기자님 전문의 전공의 주치의 의사님 인사부 인수자 인도자 장애인 유가족 노동자 하청사 고용인 고용주 용의자 제조사 제조자 제공자 주인공 표시자 임차인
    임대인 선의자 진행자 심사자 심의원 연주자 연구자 연구원 안내자 안내문 강사님 정상인 원고인 소방관 지사장 지점장 공장장 이장님 이사장 현장소
    """.split()  # noqa: SIM905 - a list of words
)
_BEFORE = (
    r"성명|이름|성함|고객명?|담당자?|예금주|신청인|신청자|수신인|수령인|받는\s?(?:분|사람)|보내는\s?(?:분|사람)|작성자|환자|회원|계약자|보호자|수취인"
)
_AFTER = r"\s?(?:님|씨|고객님?|귀하|선생님)(?![가-힣]{3})|\s(?:드림|올림|배상)(?![가-힣])"
_KOREAN = f"(?:[{_SURNAMES}][{_GIVEN}]{{2}}|(?:{_LONG_SURNAMES})[{_GIVEN}]{{1,2}})"
_PARTICLE = r"(?![가-힣])|(?=(?:님|씨|이?고객|이|가|은|는|을|를|의|에게|께서|이며|이고|입니다|이라고)(?![가-힣]{3}))"

_UPPER, _LOWER = "[A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я]", r"[^\W\d_A-Z]"
_WORD = f"(?:{_UPPER}['’])?{_UPPER}{_LOWER}+(?:['’-]{_UPPER}?{_LOWER}+)?"
_BETWEEN = rf"(?:{_UPPER}\.?|van|von|de|der|den|da|dos|la|le|al|bin|ter)(?=[ ])"
_ENGLISH = rf"{_WORD}(?:[ ](?:{_BETWEEN}|{_WORD})){{0,3}}(?![\w@])"
_TITLES = r"Mr|Mrs|Ms|Miss|Mx|Dr|Prof"
_INTRODUCED = (
    r"\b[Mm]y name is|\b[Mm]y name's|\b[Nn]ame is|(?<![A-Za-z] )\b[Nn]ame:|\b(?:full|first|last|customer|contact) name:"
    r"|\b[Ii] am called|\bcalls me|\b[Ss]igned by|\b[Aa]ttn:?|\b(?:[Rr]egards|[Ss]incerely|[Cc]heers|[Tt]hanks|THANKS),"
)
_GREETED = r"\b(?:Hi|Hello|Dear|Hey)"
_AFTER_WORDS = rf"(?<=(?:{_INTRODUCED})\s{{1,6}}|\b(?:{_TITLES})\.?\s)"
_AFTER_GREETING = rf"(?<={_GREETED}\s)"
_NO_ENGLISH_NAMES = frozenset(
    """
    all team sir sirs madam support there everyone everybody folks customer customers colleague colleagues
    friend friends hiring manager again dear mr mrs ms miss dr prof the this that it we you not no please
    thanks what when how who why where sales service services billing account member members community guest
    user users valued world kitty admin guys ladies gentlemen dr. unknown none same first last full your my
    our sent from
    """.split()  # noqa: SIM905 - a list of words
)


def name_rules() -> Sequence[Rule]:
    """A rule for English and one for Korean, both of type PERSON."""
    return (
        Rule(
            "PERSON",
            CheckedPatterns(
                "PERSON",
                [
                    (
                        f"(?={_UPPER})(?:{_AFTER_WORDS}{_ENGLISH}|{_AFTER_GREETING}{_WORD}(?=\\s?[,!:.-]))",
                        0.6,
                    ),
                ],
                _may_be_a_name,
                name="English names",
                certain=False,
                trusted=True,
            ),
        ),
        Rule(
            "PERSON",
            CheckedPatterns(
                "PERSON",
                [
                    (rf"(?<![가-힣]){_KOREAN}(?={_AFTER})", 0.6),
                    (rf"(?=[가-힣])(?<=(?<![가-힣])(?:{_BEFORE})[은는이:\s]{{1,3}}){_KOREAN}(?:{_PARTICLE})", 0.6),
                    (rf"(?=[가-힣])(?<=(?:안녕하세요|저는|제 이름은)[,.!]?\s?){_KOREAN}(?=입니다|이라고)", 0.6),
                ],
                _may_be_korean,
                name="Korean names",
                certain=False,
                trusted=True,
            ),
        ),
    )


def _may_be_a_name(text: str) -> bool | None:
    return False if text.split(maxsplit=1)[0].casefold() in _NO_ENGLISH_NAMES else None


def _may_be_korean(text: str) -> bool | None:
    return False if text in _NO_NAMES or (text[:2] in _NOUNS and text[-1] in _PARTICLES) else None
