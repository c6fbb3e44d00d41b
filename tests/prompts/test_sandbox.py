"""Templates that attack: every known way out of Jinja's sandbox, and every way to keep it busy."""

import resource
import time

import pytest

from llmops_resources.prompts import templates
from llmops_resources.prompts.content import Variable, VariableType
from llmops_resources.prompts.problems import Severity
from tests.prompts.prompts import content

VARIABLES = (
    Variable(name="text"),
    Variable(name="items", type=VariableType.LIST),
    Variable(name="count", type=VariableType.INTEGER),
)
VALUES = {"text": "%1000000000d {0.__class__}", "items": ["a", "b", "%s"], "count": 7}

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ text.__class__ }}",
    "{{ text['__class__'] }}",
    "{{ text['__cla' ~ 'ss__'] }}",
    "{{ items[text] }}",
    "{{ text|attr('__class__') }}",
    "{{ text|attr(text) }}",
    "{{ items|map(attribute='__class__')|list }}",
    "{{ items|map('upper')|join }}",
    "{{ items|selectattr('__class__')|list }}",
    "{{ items|rejectattr('a')|groupby('__class__') }}",
    "{{ items|sort(attribute='__class__') }}",
    "{{ items|join('', '__class__') }}",
    "{{ items|sum(attribute='x', start=text) }}",
    "{{ '{0.__class__}'.format(text) }}",
    "{{ text.format_map(items) }}",
    "{{ '%s'|format(text) }}",
    "{{ text % count }}",
    "{{ '%c' % 65 }}",
    "{{ text is even }}",
    "{{ text is divisibleby(3) }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ cycler('a', 'b') }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% set ns = namespace(a=1) %}",
    "{% set ns.x = 1 %}",
    "{{ lipsum.__globals__ }}",
    "{{ dict(a=1) }}",
    "{{ {'a': text} }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ range }}",
    "{{ loop }}",
    "{% for a in items %}{{ loop.__class__ }}{{ loop.cycle('a') }}{% endfor %}",
    "{% for a in items %}{{ loop }}{% endfor %}",
    "{% for a in items recursive %}{{ loop(items) }}{% endfor %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'base' %}",
    "{% block a %}{% endblock %}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% call text() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% set a %}{{ text }}{% endset %}",
    "{% with a = text %}{{ a }}{% endwith %}",
    "{% autoescape true %}{{ text }}{% endautoescape %}",
    "{% do items.append(1) %}",
    "{% debug %}",
    "{{ items.append('x') }}",
    "{{ items.__len__() }}",
    "{{ text.upper() }}",
    "{{ text() }}",
    "{{ caller() }}",
    "{{ varargs }}{{ kwargs }}",
    "{{ _budget }}",
    "{{ items|_counted(0)|join }}",
    "{{ text|_joined }}",
    "{{ request.application.__globals__ }}",
    "{{ config.items() }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ environment }}{{ context }}",
    "{{ items|batch(2)|list }}",
    "{{ text|pprint }}{{ text|safe }}{{ text|e }}{{ text|xmlattr }}{{ text|urlize }}",
    "{{ text|default(**items) }}",
    "{{ range(*items) }}",
    "{{ (text, items) }}",
    "{% set a, b = items %}",
    "{{ count[0:5] }}",
    "{{ text['a':] }}",
    "{{ items[::0] }}",
    "{{ items[true]|tojson(indent=4) }}",
    "{{ '\\x00' }}",
    "{{ '\\ud800' }}",
    "{{ '\\x3c|im_start|>' }}",
]

BOMBS = [
    "{{ 'a' * 1000000000 }}",
    "{{ text * 1000000000 }}",
    "{{ items * 1000000000 }}",
    "{{ [1] * count * 1000000000 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{{ range(100000000000) }}",
    "{{ range(1000000000)|join }}",
    "{{ range(count * 1000000)|length }}",
    "{{ range(-1000000000, 0)|length }}",
    "{{ range(0, 1, 0)|length }}",
    "{{ 5|round(-1000000000) }}",
    "{{ 1.5|round(1000000000) }}",
    "{{ text|indent(1000000000) }}",
    "{{ text|center(1000000000) }}",
    "{{ text|wordwrap(1) }}",
    "{{ 1e999 }}",
    "{{ " + "9" * 5_000 + " }}",
    "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "{{ " + "-" * 20_000 + "1 }}",
    "{{ " + "not " * 10_000 + "1 }}",
    "{{ " + "+".join("1" * 20_000) + " }}",
    "{{ " + "~".join(["text"] * 8_000) + " }}",
    "{{ text" + "|upper" * 8_000 + " }}",
    "{{ " + "[" * 20_000 + " }}",
    "{% if text %}" * 4_000,
    "{% for a in items %}" * 30 + "x" + "{% endfor %}" * 30,
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(1000) %}{% for b in range(1000) %}{% set c = a * b %}{% endfor %}{% endfor %}",
    "{% for a in range(1000) %}{% for b in range(1000) %}long long long text{% endfor %}{% endfor %}",
    "{% for a in range(1000) if a in range(1000)|sort|unique and a in range(1000)|sort|unique %}{% endfor %}" * 20,
    "{% for a in range(1000) %}" + "x" * 50_000 + "{% endfor %}",
    "{% set a = text ~ text %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a|replace('x', a) %}" * 30 + "{{ a }}",
    "{% set a = text %}" + "{% set a = a|tojson %}" * 200 + "{{ a }}",
    "{% set a = items|join(text) %}" + "{% set a = items|join(a) %}" * 60 + "{{ a }}",
    "{% set a = [1, 2] %}" + "{% set a = [a, a] %}" * 60 + "{{ a|tojson }}",
    "{% set a = count %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "{% set a = '0123456789' %}" + "{% set a = a ~ a %}" * 13 + "{% set b = a[1:] %}{% set c = b[1:] %}" * 450,
    "{% set a = text ~ text ~ text %}" + "".join(f"{{% set a{n} = a ~ {n} %}}" for n in range(900)),
]


@pytest.mark.parametrize("template", ESCAPES)
def test_no_way_out_of_the_sandbox_is_open(template: str) -> None:
    seen = templates.preview(content(template, *VARIABLES), VALUES)
    assert seen.messages == ()
    assert any(it.severity is Severity.ERROR and it.remedy for it in seen.problems)


@pytest.mark.parametrize("template", BOMBS, ids=range(len(BOMBS)))
def test_no_template_keeps_the_machine_busy_or_fills_its_memory(template: str) -> None:
    started, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = templates.preview(content(template, *VARIABLES), VALUES)
    assert time.process_time() - started < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200 * 1024  # kB
    assert sum(len(it.content) for it in seen.messages) < 250_000
    assert seen.messages == () or all(it.severity is Severity.WARNING for it in seen.problems)


def test_values_that_look_like_templates_are_text() -> None:
    attack = "{{ 7 * 7 }}{% include '/etc/passwd' %}{{ ''.__class__ }}"
    seen = templates.preview(content("{{ text }}", Variable(name="text")), {"text": attack})
    assert seen.messages[0].content == attack


def test_a_list_given_as_a_value_cannot_be_changed_by_a_template() -> None:
    given = ["b", "a"]
    variable = Variable(name="items", type=VariableType.LIST)
    seen = templates.preview(content("{{ items|sort|join }}{{ items|join }}", variable), {"items": given})
    assert seen.messages[0].content == "abba"
    assert given == ["b", "a"]
