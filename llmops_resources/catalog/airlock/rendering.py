"""The rendering process: reads chat templates as a JSON list on stdin, tries each on a short talk, says how it went.

Run as a file and not as a module of the package, so that it imports nothing but Jinja: its limits are the kernel's,
processor time and address space, and a template that runs for ever ends with it.
"""

import json
import resource
import sys
from typing import Any, Final, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

CPU_SECONDS: Final = 1
MEMORY_BYTES: Final = 512 * 1024**2
MAX_OUTPUT: Final = 1_000_000
RENDERED: Final = "renders"
_TALK: Final = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello, how can I help?"},
    {"role": "user", "content": "What is 1 + 1?"},
)


class Generation(Extension):
    """`{% generation %}…{% endgeneration %}`, with which trainers mark the assistant's words; renders its body."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own attribute

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body alone."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Complaint(TemplateError):
    """The template itself refused the talk, as many do with roles they do not know."""


def environment() -> ImmutableSandboxedEnvironment:
    """The sandbox in which templates are read and rendered, set up as the runtimes set theirs up."""
    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols], optimized=False
    )
    sandbox.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    sandbox.globals["raise_exception"] = _complain
    sandbox.globals["strftime_now"] = lambda _format: "2026-01-01"
    return sandbox


def attempt(source: str) -> tuple[bool, str]:
    """Whether the template may be rendered by a runtime, and how it went."""
    try:
        size = 0
        for piece in environment().from_string(source).generate(_context()):
            size += len(piece)
            if size > MAX_OUTPUT:
                return False, f"it makes more than {MAX_OUTPUT:,} characters out of a short talk"
    except SecurityError as error:
        return False, f"it reaches out of its sandbox: {error}"
    except (MemoryError, OverflowError, RecursionError) as error:
        return False, f"it takes too much memory or depth ({type(error).__name__})"
    except Complaint as error:
        return True, f"refuses a plain talk: {error}"
    except Exception as error:  # noqa: BLE001  a template may raise anything; then it is wrong, and not dangerous
        return True, f"fails on a plain talk: {type(error).__name__}: {error}"
    return True, RENDERED


def _context() -> dict[str, Any]:
    talk = [dict(message) for message in _TALK]
    return {"messages": talk, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}


def _complain(message: object) -> NoReturn:
    raise Complaint(str(message)[:500])


def main() -> None:
    """Answer one request: `[[allowed, how it went], …]` on stdout."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sources: list[Any] = json.load(sys.stdin)
    print(json.dumps([attempt(str(source)) for source in sources]))


if __name__ == "__main__":
    main()
