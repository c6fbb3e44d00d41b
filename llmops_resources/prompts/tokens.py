"""Control tokens: the markers with which chat models tell turns apart.

A value that carries one could end the user's turn and speak as the system. `Kept` lets the tokens that a template
itself writes through, by standing NUL-framed numbers in for them: no value can hold a NUL, so whatever control token
is in the rendered text before the numbers are put back was made by values, even from two halves.
"""

import re
import unicodedata

#: Markers of the ChatML, Llama, Mistral, Gemma, DeepSeek, Cohere, T5, StarCoder and Qwen families.
_TOKEN = re.compile(
    r"<[|｜][^<>|｜\s]{1,64}[|｜]>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG|PREFIX|SUFFIX|MIDDLE)\]"
    r"|<</?SYS>>"
    r"|</?s>"
    r"|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn|extra_id_\d{1,4}|fim_(?:prefix|middle|suffix|pad))>"
    r"|</?(?:think|tool_calls?|tool_responses?)>",
    re.IGNORECASE,
)
_STAND_IN = re.compile(r"\x00(\d{1,6})\x00")


def find(text: str) -> str | None:
    """The first control token, if there is one."""
    found = _TOKEN.search(text)
    return found.group() if found else None


def find_disguised(text: str) -> str | None:
    """As `find`, also seeing what a tokenizer that normalises (NFKC) would see."""
    return find(text) or find(unicodedata.normalize("NFKC", text))


def neutralised(text: str) -> str:
    """The text with a space behind the first character of every control token, which makes it ordinary words."""
    plain = text if find(text) or not find_disguised(text) else unicodedata.normalize("NFKC", text)
    return _TOKEN.sub(lambda token: f"{token.group()[0]} {token.group()[1:]}", plain)


class Kept:
    """Control tokens that are meant, by the number that stands in for them."""

    def __init__(self, tokens: tuple[str, ...] = ()) -> None:
        self._tokens = list(tokens)

    def hide(self, text: str) -> str:
        """The text with stand-ins for its control tokens."""
        return _TOKEN.sub(lambda token: self._number(token.group()), text)

    def restore(self, text: str) -> str:
        """The text with the tokens back in place. Raises ValueError when a stand-in was torn."""
        restored = _STAND_IN.sub(lambda number: self._tokens[int(number.group(1))], text)
        if "\x00" in restored:
            raise ValueError("a control token that is allowed was cut in two")
        return restored

    def copy(self) -> "Kept":
        """The same tokens, to which more may be added for one rendering."""
        return Kept(tuple(self._tokens))

    def _number(self, token: str) -> str:
        if token not in self._tokens:
            self._tokens.append(token)
        return f"\x00{self._tokens.index(token)}\x00"
