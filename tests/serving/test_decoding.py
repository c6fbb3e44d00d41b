"""The decoding batch beside `generate` on each text alone."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from llmops_assets import decoding
from llmops_assets.decoding import DecodingBatch, check
from tests.tiny_model import write_tiny_model

VOCABULARY = 300
TOKENS = st.integers(0, VOCABULARY - 1)
Job = tuple[list[int], int]  # a prompt, and how many tokens follow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_tiny_model(tmp_path_factory.mktemp("model"))
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def alone(model: Any, prompt: list[int], tokens: int) -> list[int]:
    found = model.generate(
        input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    ids: list[int] = found[0, len(prompt) :].tolist()
    return ids


def together(model: Any, jobs: list[Job], slots: int, draw: random.Random, shared: int = 0) -> list[list[int]]:
    """Greedy continuations of all, which join and leave as `draw` says."""
    batch, running, waiting = DecodingBatch(model), list[int](), list(range(len(jobs)))
    found: list[list[int]] = [[] for _ in jobs]
    while waiting or running:
        free = min(slots - len(running), len(waiting))
        joining = [waiting.pop(0) for _ in range(draw.randint(0 if running else 1, free) if free else 0)]
        if joining:
            batch.join([jobs[each][0] for each in joining], [shared] * len(joining))
            running += joining
        tokens = batch.logits.argmax(dim=-1).tolist()
        for each, token in zip(running, tokens, strict=True):
            found[each].append(token)
        for row in reversed(range(len(running))):
            if len(found[running[row]]) == jobs[running[row]][1]:
                batch.leave(row)
                for rows in (running, tokens):
                    rows[row] = rows[-1]
                    rows.pop()
        assert len(batch) == len(running)
        if running:
            batch.advance(tokens)
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(st.tuples(st.lists(TOKENS, min_size=1, max_size=40), st.integers(1, 60)), min_size=1, max_size=8),
    slots=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_whoever_joins_and_leaves_each_text_goes_on_as_alone(
    model: Any, jobs: list[Job], slots: int, seed: int
) -> None:
    found = together(model, jobs, slots, random.Random(seed))
    assert found == [alone(model, *job) for job in jobs]


def test_a_shared_beginning_is_read_once_and_changes_nothing(model: Any) -> None:
    draw = random.Random(1)
    system = [draw.randrange(VOCABULARY) for _ in range(20)]
    jobs = [([*system, *(draw.randrange(VOCABULARY) for _ in range(n))], 8) for n in (3, 9, 1, 4, 30, 2)]
    expected = [alone(model, *job) for job in jobs]
    assert together(model, jobs, 2, draw, shared=20) == expected
    batch = DecodingBatch(model)
    for prompt, _ in jobs:
        batch.join([prompt], [20])
        batch.clear()
    batch.join([prompt for prompt, _ in jobs], [20] * len(jobs))
    assert batch.logits.argmax(dim=-1).tolist() == [answer[0] for answer in expected]
    assert batch.prefix_hits == 2 * len(jobs) - 1


def test_prompts_that_are_read_in_several_passes_go_on_as_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a beginning that all share and without: the first prompt that has it is read alone, the others behind it."""
    monkeypatch.setattr(decoding, "READ_AT_ONCE", 60)
    draw = random.Random(5)
    system = [draw.randrange(VOCABULARY) for _ in range(20)]
    for beginning in ([], system):
        jobs = [([*beginning, *(draw.randrange(VOCABULARY) for _ in range(n))], 8) for n in (3, 30, 7, 18, 18, 18, 1)]
        expected = [alone(model, *job) for job in jobs]
        assert together(model, jobs, len(jobs), draw, shared=len(beginning)) == expected
        batch = DecodingBatch(model)
        batch.join([prompt for prompt, _ in jobs], [len(beginning)] * len(jobs))
        assert batch.logits.argmax(dim=-1).tolist() == [answer[0] for answer in expected]
        assert batch.prefix_hits == (len(jobs) - 1 if beginning else 0)


def test_equal_prompts_are_read_once_and_go_on_apart(model: Any) -> None:
    prompt, other = [5, 6, 7, 8], [9, 10]
    batch = DecodingBatch(model)
    batch.join([prompt, other, prompt, prompt])
    assert torch.equal(batch.logits[0], batch.logits[2])
    batch.advance([1, 2, 3, 1])
    for row, ids in enumerate(([*prompt, 1], [*other, 2], [*prompt, 3], [*prompt, 1])):
        assert int(batch.logits[row].argmax()) == alone(model, ids, 1)[0]


def test_memory_is_given_back_when_the_last_row_leaves(model: Any) -> None:
    batch = DecodingBatch(model)
    batch.join([[1, 2, 3]])
    assert batch.bytes_per_token == 2 * 2 * 32 * 4  # layers, keys and values, hidden size, float32
    batch.leave(0)
    assert len(batch) == 0
    assert batch.bytes_per_token == 0


@pytest.mark.parametrize("kind", ["gpt2", "window"])
def test_models_with_other_positions_and_windows_of_attention_go_on_as_alone(kind: str) -> None:
    torch.manual_seed(1)
    size = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5}
    other: Any = (
        GPT2LMHeadModel(GPT2Config(n_embd=32, n_positions=128, **size))
        if kind == "gpt2"
        else MistralForCausalLM(
            MistralConfig(hidden_size=32, intermediate_size=64, num_key_value_heads=1, sliding_window=6, **size)
        )
    )
    other = other.eval()
    check(other)
    draw = random.Random(2)
    jobs = [([draw.randrange(VOCABULARY) for _ in range(n)], 20) for n in (3, 30, 7, 1, 12)]
    assert together(other, jobs, 3, draw) == [alone(other, *job) for job in jobs]


def test_a_model_whose_answers_depend_on_its_neighbours_is_refused(model: Any, tmp_path: Path) -> None:
    leaking = AutoModelForCausalLM.from_pretrained(write_tiny_model(tmp_path)).eval()

    def mixed(_module: Any, _args: Any, output: Any) -> Any:
        return output + output.mean(dim=0, keepdim=True)

    leaking.model.layers[0].register_forward_hook(mixed)
    with pytest.raises(ValueError, match="depend on what else runs"):
        check(leaking)
    check(model)
