"""Secrets do not get into a job's log, and ordinary lines come through as they are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources.training.masking import MASK, Masking, secrets_of

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl-_c2ln"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("JOB_TOKEN=abcdef123456 was refused", "abcdef123456"),
        ('{"api_key": "abcdef123456"}', "abcdef123456"),
        ("headers: {'Authorization': 'Bearer abc.def-ghi_jkl'}", "abc.def-ghi_jkl"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("AWS_SECRET_ACCESS_KEY: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
        ("using AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        (f"got {JWT}", "c2lnbmF0dXJl"),
        ("postgresql://llmops:hunter22@db:5432/llmops", "hunter22"),
        ("GET https://store/part?X-Amz-Credential=AK%2F1&X-Amz-Signature=0123abcd", "0123abcd"),
        ("login with hf_abcdefghijklmnopqrstuv", "hf_abcdefghijklmnopqrstuv"),
        ("the odd one: correct horse battery", "correct horse battery"),
    ],
)
def test_a_secret_is_masked(line: str, secret: str) -> None:
    shown = Masking(["correct horse battery"])(line)
    assert secret not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "line",
    [
        "step 12 of 40, loss 2.315",
        "training on 12,000 tokens: vocabulary 300",
        'File "/app/train.py", line 12, in <module>',
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "저장했습니다: 체크포인트 12",
        "tokens: 12",
    ],
)
def test_an_ordinary_line_is_left_alone(line: str) -> None:
    assert Masking()(line) == line


def test_what_a_terminal_or_a_database_would_act_on_is_gone() -> None:
    assert Masking()("\x1b[31mred\x1b[0m\x00 \u202eevil\r \ud800") == "red evil ?"


@given(st.text(max_size=300))
def test_any_line_can_be_masked_and_stays_so(line: str) -> None:
    once = Masking()(line)
    assert Masking()(once) == once
    assert "\x00" not in once


@pytest.mark.parametrize("part", ["token", "secret=", "://", "a:", "Bearer ", "eyJaaaaaaaa.", "\x1b[", "?sig=", " "])
def test_no_line_is_slow(part: str) -> None:
    line = part * (65_536 // len(part))
    began = time.process_time()
    Masking()(line)
    assert time.process_time() - began < 1


def test_the_secrets_of_an_environment_are_those_whose_names_say_so() -> None:
    environment = {"S3_SECRET_KEY": "a", "HF_TOKEN": "b", "PGPASSWORD": "c", "PATH": "d", "AWS_ACCESS_KEY_ID": "e"}
    assert secrets_of(environment) == ["a", "b", "c", "e"]
