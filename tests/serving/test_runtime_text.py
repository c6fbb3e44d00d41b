"""Tokens to text: whole characters, and stop strings however the text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_assets.serving.runtime.text import StopMatcher, TextStream

LETTERS = st.text("ab안", max_size=12)  # so few that stop strings are found, begin again and overlap


def until_stop(text: str, stops: list[str]) -> tuple[str, bool]:
    """What the matcher should give, character by character."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


def as_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.lists(LETTERS, max_size=8), st.lists(st.text("ab안", min_size=1, max_size=4), max_size=4))
def test_the_text_ends_before_the_stop_string_that_is_complete_first_however_it_is_cut(
    pieces: list[str], stops: list[str]
) -> None:
    matcher = StopMatcher(stops)
    text = "".join(map(matcher.push, pieces)) + matcher.flush()
    assert (text, matcher.stopped) == until_stop("".join(pieces), stops)


@given(st.lists(LETTERS, max_size=8), st.lists(st.text("ab안", min_size=1, max_size=4), min_size=1, max_size=4))
def test_no_more_is_held_back_than_what_a_stop_string_begins_with(pieces: list[str], stops: list[str]) -> None:
    matcher, given_out, seen = StopMatcher(stops), "", ""
    for piece in pieces:
        given_out, seen = given_out + matcher.push(piece), seen + piece
        if matcher.stopped:
            return
        held = seen[len(given_out) :]
        assert seen.startswith(given_out)
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_a_text_that_comes_byte_by_byte_is_the_text_up_to_its_stop(text: str, stops: list[str]) -> None:
    text = text.replace("\ufffd", "?")
    stops = [stop.replace("\ufffd", "?") for stop in stops]
    stream = TextStream(as_bytes, stops)
    found = ""
    for byte in text.encode():
        piece = stream.push(byte)
        assert "\ufffd" not in piece
        found += piece
        if stream.stopped:
            break
    assert (found + stream.flush(), stream.stopped) == until_stop(text, stops)


def test_a_korean_stop_string_is_found_across_the_bytes_of_its_characters() -> None:
    stream = TextStream(as_bytes, ["그만"])
    pieces = [stream.push(byte) for byte in "안녕 그래 그만 더".encode()]
    assert "".join(pieces) == "안녕 그래 "
    assert stream.stopped
    assert stream.flush() == ""


def test_a_character_cut_off_by_the_token_limit_is_left_out() -> None:
    stream = TextStream(as_bytes, [])
    pieces = [stream.push(byte) for byte in "아안".encode()[:-1]]
    assert "".join(pieces) + stream.flush() == "아"


@pytest.mark.parametrize(("text", "visible"), [("aSTx", "aSTx"), ("STO", "STO"), ("STSTOP!", "ST")])
def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_certain(text: str, visible: str) -> None:
    stream = TextStream(as_bytes, ["STOP"])
    assert "".join(map(stream.push, text.encode())) + stream.flush() == visible
