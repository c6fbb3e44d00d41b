"""What uploaded files may be called: names that people, stores and file systems read alike."""

import unicodedata
from collections.abc import Iterable

from llmops_resources.blobs import check_key
from llmops_resources.catalog.airlock.names import check_names
from llmops_resources.catalog.airlock.report import Problems
from llmops_resources.errors import InvalidInput, ValidationFailed, field_problem

_LONGEST = 255


def check_label(name: str) -> str:
    """The name itself, if it can be shown and kept; it need not be one that files are stored under.

    Raises InvalidInput for no name, path parts such as `../`, and characters that cannot be seen: NUL and other
    controls, marks that turn the direction of writing, lone surrogates.
    """
    shown = "".join("\N{REPLACEMENT CHARACTER}" if _is_unseen(c) else c for c in name[:100])
    if not name or len(name.encode("utf-8", "replace")) > _LONGEST:
        raise InvalidInput("a file has no name, or one over 255 bytes", remedy="Give it a short name.")
    if any(_is_unseen(c) for c in name):
        raise InvalidInput(f"the file name {shown!r} has a character that cannot be seen", remedy="Rename the file.")
    if "\\" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise InvalidInput(f"the file name {shown!r} is a path", remedy="Send the bare name of the file.")
    return name


def check_model_names(names: Iterable[str]) -> None:
    """Raises ValidationFailed, with every name that a model's file may not have, before its bytes are sent."""
    problems, listed = [], list(names)
    for name in listed:
        try:
            check_key(check_label(name))
        except InvalidInput as error:
            problems.append(field_problem("files", error.message, error.remedy))
    if not problems:
        refused = Problems()
        check_names(listed, refused)
        problems = [field_problem(problem.path, problem.problem, problem.remedy) for problem in refused.kept]
    if problems:
        raise ValidationFailed(
            f"{len(problems)} file(s) cannot be part of a model; the first: {problems[0]['path']} "
            f"{problems[0]['problem']}",
            remedy="Leave them out or rename them, then send the files again.",
            details=problems[:50],
        )


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character).startswith("C")
