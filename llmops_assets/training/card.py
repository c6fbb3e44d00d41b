"""The body of the model card that a training run writes beside the weights."""

from collections.abc import Mapping
from typing import Any

from llmops_resources.training.recipe import JobType, Recipe

_WHAT = {
    JobType.FROM_SCRATCH: "A causal language model, trained from random weights with its own tokenizer.",
    JobType.PRETRAIN: "A base causal language model, pre-trained from random weights with its own tokenizer. "
    "It continues text; it does not follow instructions.",
    JobType.FINETUNE: "A chat model: a base model fine-tuned on questions and answers, with the loss on the answers.",
}


def model_card(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    """Markdown: what the model is, how it was made, the figures on rows it was not trained on, and its limits."""
    settings = "\n".join(
        f"| {name} | {_cell(value)} |" for name, value in recipe.json_dict().items() if value is not None
    )
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    rows = summary["rows"]
    return f"""# Model card

{_WHAT[recipe.job_type]}
{summary["parameters"]:,} parameters, weights in `model.safetensors` ({summary["precision"]}).

## Training

{summary["steps"]:,} steps over {summary["tokens"]:,} tokens from {rows["train"]:,} rows, in {summary["seconds"]:.0f}
seconds on {summary["device"]}. {rows["skipped"]:,} rows were skipped: empty, or longer than the context.

| Setting | Value |
|---|---|
{settings}

Recipe digest: `{summary["recipe_digest"]}`. Software: {versions}.

## Figures

| | Loss | Perplexity |
|---|---|---|
| training, end | {summary["final_loss"]:.4f} | |
| held out ({rows["evaluation"]:,} rows) | {summary["eval_loss"]:.4f} | {summary["perplexity"]:.2f} |

## Limits

The held-out rows come from the same data set, so these figures say how well this data was learned and nothing about
other data. The model can state false things with full confidence, and repeats what its training data contains.
"""


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")
