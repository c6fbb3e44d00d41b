"""Templates: what they render, what they refuse, and where they say the mistake is."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_resources.errors import ValidationFailed
from llmops_resources.prompts import templates
from llmops_resources.prompts.content import (
    MAX_TEMPLATE_CHARS,
    ControlTokens,
    PromptContent,
    Variable,
    VariableType,
)
from llmops_resources.prompts.diff import LineChange, difference
from llmops_resources.prompts.problems import Severity
from llmops_resources.prompts.sandbox import MAX_OUTPUT
from tests.prompts.prompts import content, greeting

NAME = Variable(name="name")


def _text(prompt: PromptContent, values: dict[str, Any]) -> str:
    return templates.Compiled(prompt).render(values).messages[-1].content


def _errors(prompt: PromptContent, values: dict[str, Any] | None = None) -> list[tuple[str, int | None, str]]:
    found = templates.preview(prompt, values or {}).problems
    return [(it.path, it.line, it.problem) for it in found if it.severity is Severity.ERROR]


def test_values_and_defaults_are_filled_in_and_an_optional_list_may_be_left_out() -> None:
    rendered = templates.Compiled(greeting()).render({"name": "Ada"})
    assert [(it.role, it.content) for it in rendered.messages] == [
        ("system", "Be kind."),
        ("user", "Answer Ada in 50 words."),
    ]
    assert rendered.digest == greeting().digest
    assert _text(greeting(), {"name": "Ada", "words": 3, "topics": ["a", "b"]}) == "Answer Ada in 3 words.\n- a\n- b"


def test_nothing_is_escaped_and_line_ends_are_kept() -> None:
    assert _text(content("{{ name }}\n", NAME), {"name": "<b>&</b>\n"}) == "<b>&</b>\n\n"


def test_a_template_may_branch_loop_and_filter() -> None:
    text = (
        "{% set all = topics|sort|unique %}{% for it in all if it != 'b' %}"
        "{{ loop.index }}/{{ loop.length }}:{{ it|upper }}{{ '' if loop.last else '; ' }}{% endfor %}"
        "{% if all|length > 2 and 'c' in all %} many{% elif not all %} none{% endif %} {{ (1 + 2) * 3 ~ '!' }}"
    )
    topics = Variable(name="topics", type=VariableType.LIST)
    assert _text(content(text, topics), {"topics": ["c", "a", "b", "a"]}) == "1/2:A; 2/2:C many 9!"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("one\ntwo {{ nme }}", 2, "nme is not declared"),
        ("one\n\n{% if name %}", 3, "Unexpected end of template"),
        ("{{ name | shout }}", 1, "there is no filter shout"),
        ("\n{{ name is callable }}", 2, "there is no test callable"),
        ("a\n{{ name / 2 }}", 2, "/ works on numbers only"),
        ("a\n{% for letter in name %}{% endfor %}", 2, "a loop goes over a list"),
    ],
)
def test_a_mistake_is_found_at_its_line(text: str, line: int, words: str) -> None:
    ((path, found, problem),) = _errors(content(text, NAME), {"name": "Ada"})
    assert (path, found) == ("messages.0.content", line)
    assert words in problem


def test_a_variable_that_is_not_used_is_only_a_warning() -> None:
    seen = templates.preview(content("Hello.", NAME), {"name": "Ada"})
    assert [(it.path, it.severity) for it in seen.problems] == [("variables.0.name", Severity.WARNING)]
    assert seen.messages[0].content == "Hello."
    assert templates.check(content("Hello.", NAME))


@pytest.mark.parametrize("name", ["", "a b", "1a", "_a", "a.b", "loop", "range", "None", "é", "a\n", "self"])
def test_a_variable_needs_a_plain_name(name: str) -> None:
    assert "variables.0.name" in [path for path, _, _ in _errors(content("x", Variable(name=name)))]


def test_a_variable_is_declared_once_and_its_default_obeys_its_type() -> None:
    wrong = Variable(name="count", type=VariableType.INTEGER, default="many")
    problems = _errors(content("{{ name }}{{ count }}", NAME, NAME, wrong))
    assert [path for path, _, _ in problems] == ["variables.1.name", "variables.2.default"]


WRONG: list[tuple[VariableType, Any]] = [
    (VariableType.STRING, 5), (VariableType.STRING, ["a"]), (VariableType.STRING, "a\x00b"),
    (VariableType.STRING, "\ud800"), (VariableType.STRING, "x" * 10_001), (VariableType.INTEGER, True),
    (VariableType.INTEGER, 1.5), (VariableType.INTEGER, "1"), (VariableType.INTEGER, 2**63),
    (VariableType.NUMBER, float("nan")), (VariableType.NUMBER, float("inf")), (VariableType.NUMBER, "1"),
    (VariableType.BOOLEAN, 1), (VariableType.BOOLEAN, "true"), (VariableType.LIST, "abc"),
    (VariableType.LIST, [["nested"]]), (VariableType.LIST, [{"a": 1}]), (VariableType.LIST, [None]),
    (VariableType.LIST, ["a"] * 101), (VariableType.LIST, ["</s>"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), WRONG)
def test_a_value_of_the_wrong_kind_is_refused_by_its_name(kind: VariableType, value: Any) -> None:
    prompt = content("{% if it %}x{% endif %}", Variable(name="it", type=kind))
    with pytest.raises(ValidationFailed) as refused:
        templates.Compiled(prompt).render({"it": value})
    assert [it["path"] for it in refused.value.details] == ["values.it"]


def test_unknown_and_missing_values_are_all_named_at_once() -> None:
    assert [path for path, _, _ in _errors(greeting(), {"nmae": "Ada", "words": "x"})] == [
        "values.nmae",
        "values.name",
        "values.words",
    ]


def test_values_are_bounded_together() -> None:
    wide = [Variable(name=f"v{number}", max_length=100_000) for number in range(3)]
    text = "".join(f"{{{{ v{number}|length }}}}" for number in range(3))
    assert _errors(content(text, *wide), {f"v{number}": "x" * 90_000 for number in range(3)})[0][0] == "values"


TOKENS = [
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>",
    "</s>", "<start_of_turn>", "<｜begin▁of▁sentence｜>", "<bos>", "[TOOL_CALLS]", "<tool_call>", "<extra_id_1>",
    "［INST］", "＜s＞",
]  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_a_value_with_a_control_token_is_refused_unless_the_variable_says_otherwise(token: str) -> None:
    value = {"name": f"x{token}system"}
    assert "control token" in _errors(content("{{ name }}", NAME), value)[0][2]
    broken = Variable(name="name", control_tokens=ControlTokens.NEUTRALISE)
    plain = _text(content("{{ name }}", broken), value)
    assert token not in plain
    assert _errors(content("{{ name }}", NAME), {"name": plain}) == []
    allowed = Variable(name="name", control_tokens=ControlTokens.ALLOW)
    assert _text(content("{{ name }}", allowed), value) == value["name"]


@pytest.mark.parametrize("text", ["{{ a }}{{ b }}", "{{ a ~ b }}", "1{{ a[0:] }}{{ b|trim }}", "{{ a }}start|>{{ b }}"])
def test_no_two_parts_make_up_a_control_token(text: str) -> None:
    both = (Variable(name="a"), Variable(name="b", control_tokens=ControlTokens.NEUTRALISE))
    values = {"a": "<|im_", "b": "start|>"}
    assert "control token <|im_start|>" in _errors(content(text, *both), values)[0][2]


def test_a_template_that_writes_control_tokens_itself_keeps_them_with_a_warning() -> None:
    seen = templates.preview(content("<|im_start|>user\n{{ name }}<|im_end|>", NAME), {"name": "Ada"})
    assert seen.messages[0].content == "<|im_start|>user\nAda<|im_end|>"
    assert [(it.line, it.severity) for it in seen.problems] == [(1, "warning"), (2, "warning")]


def test_a_token_that_a_template_writes_does_not_let_the_same_token_through_in_values() -> None:
    parts = (Variable(name="a"), Variable(name="b"))
    prompt = content("<|im_end|>{{ a }}{{ b }}", *parts)
    assert _errors(prompt, {"a": "<|im_", "b": "end|>"})
    assert _text(prompt, {"a": "<|im_", "b": "x"}) == "<|im_end|><|im_x"


@settings(max_examples=150, deadline=None)
@given(
    name=st.text(max_size=50),
    words=st.integers(),
    topics=st.lists(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.booleans()), max_size=8),
)
def test_equal_values_render_equally_and_whatever_they_are_the_answer_is_text_or_a_reason(
    name: str, words: int, topics: list[Any]
) -> None:
    values = {"name": name, "words": words, "topics": topics}
    first, again = templates.preview(greeting(), values), templates.preview(greeting(), values)
    assert first == again
    assert bool(first.messages) != bool(first.problems)
    for message in first.messages:
        assert len(message.content.encode()) <= 4 * MAX_OUTPUT
        assert "\x00" not in message.content
    if first.messages:
        assert name in first.messages[1].content


SYNTAX = st.text("{}%#-abx .|_()[]'\"\\0123456789~+*/=<>!,:\nifornestdlu", max_size=120)


@settings(max_examples=300, deadline=None)
@given(SYNTAX, st.sampled_from(["{{ %s }}", "{%% %s %%}", "%s", "{%% for x in a %%}{{ %s }}{%% endfor %%}"]))
def test_no_text_breaks_the_compiler_or_keeps_it_busy(inner: str, frame: str) -> None:
    prompt = content(frame.replace("%%", "%").replace("%s", inner), Variable(name="a", type=VariableType.LIST))
    started = time.process_time()
    seen = templates.preview(prompt, {"a": ["b", 1, True]})
    assert time.process_time() - started < 2
    assert all(it.problem and it.remedy for it in seen.problems)


def test_the_digest_names_the_content_whatever_order_its_keys_came_in() -> None:
    data = greeting().json_dict()
    turned = PromptContent.model_validate(dict(reversed(data.items())))
    assert turned.digest == greeting().digest
    assert content("a").digest != content("b").digest
    assert content("x", Variable(name="a", default=1.0)).digest == content("x", Variable(name="a", default=1.0)).digest


def test_a_prompt_that_is_too_long_is_refused_before_it_is_read() -> None:
    half = "x" * (MAX_TEMPLATE_CHARS // 2 + 1)
    assert _errors(content(half, system=half))[0][0] == "messages"
    assert _errors(content("\n" * 1_001))[0][0] == "messages"


def test_a_difference_tells_what_was_added_and_removed_with_both_line_numbers() -> None:
    old = content("one\ntwo\nthree", NAME)
    new = content("one\n2\nthree", NAME, Variable(name="more"), system="Be kind.")
    seen = difference(content("one\ntwo\nthree", NAME, system="Be kind."), new, before="p 1", after="p 2")
    text = {section.path: section.lines for section in seen.sections}
    assert [(it.change, it.text, it.before, it.after) for it in text["messages.1"]] == [
        (LineChange.SAME, "[user]", 1, 1), (LineChange.SAME, "one", 2, 2), (LineChange.REMOVED, "two", 3, None),
        (LineChange.ADDED, "2", None, 3), (LineChange.SAME, "three", 4, 4),
    ]  # fmt: skip
    assert [it.change for it in text["variables"]] == [LineChange.SAME, LineChange.ADDED]
    assert not seen.identical
    assert difference(old, old, before="p 1", after="p 1").identical


@settings(max_examples=50, deadline=None)
@given(*[st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30)] * 2)
def test_a_difference_holds_both_texts(old: list[str], new: list[str]) -> None:
    before, after = content("\n".join(old)), content("\n".join(new))
    lines = difference(before, after, before="1", after="2").sections[0].lines
    kept = {
        which: "\n".join(it.text for it in lines if it.change is not left_out).removeprefix("[user]\n")
        for which, left_out in (("old", LineChange.ADDED), ("new", LineChange.REMOVED))
    }
    assert kept == {"old": "\n".join(old), "new": "\n".join(new)}


def test_the_most_hostile_texts_are_compared_quickly() -> None:
    old = content("\n".join(f"{number % 7}" for number in range(1_000)))
    new = content("\n".join(f"{number * 3 % 11}" for number in range(1_000)))
    started = time.process_time()
    difference(old, new, before="1", after="2")
    assert time.process_time() - started < 3
