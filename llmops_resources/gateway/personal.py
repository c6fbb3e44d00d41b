"""The data checks' recognizers as a finder for single texts. Building it imports Presidio, which takes a while."""

from llmops_resources.checks.options import CheckOptions
from llmops_resources.gateway.masking import Spans


def finder(options: CheckOptions) -> Spans:
    """A function that finds every blocking type of personal data in a text; patterns only, no language model."""
    import polars as pl  # noqa: PLC0415  all this is for routes that mask

    from llmops_resources.checks.cells import CellScan  # noqa: PLC0415
    from llmops_resources.checks.custom import custom_rules  # noqa: PLC0415
    from llmops_resources.checks.recognizers import pattern_rules  # noqa: PLC0415
    from llmops_resources.checks.scan import PatternScan  # noqa: PLC0415

    rules = (*pattern_rules(options.phone_regions), *custom_rules(options.custom_recognizers))
    wanted = frozenset(options.blocking_types)
    cells = CellScan(PatternScan([rule for rule in rules if rule.entity in wanted], options.min_score))

    def find(text: str) -> list[tuple[int, int, str]]:
        series = pl.Series("", [text], pl.String)
        return [(hit.start, hit.end, hit.entity) for hit, *_ in cells.hits(series, nested=False)]

    return find
