"""Pairs that share a sequence teach exactly what each of them teaches alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmops_assets.training import sft
from llmops_assets.training.loop import Learner, loss_sum
from llmops_assets.training.models import keeps_texts_apart
from llmops_assets.training.sources import Pairs
from llmops_assets.training.tokens import IGNORED, Pair
from tests.training.programs import ARCHITECTURE, PAIRS, TEXTS, prepare, train

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(2, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))), min_size=1)


def examples(lengths: list[tuple[int, int]]) -> list[Pair]:
    rng = np.random.default_rng(0)
    return [Pair(tuple(int(i) for i in rng.integers(1, 100, size)), prompt) for size, prompt in lengths]


def model(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
            )
        )
    return GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=2, n_positions=64))


@given(LENGTHS)
def test_every_pair_is_in_the_batch_once_and_its_answer_alone_is_learned(lengths: list[tuple[int, int]]) -> None:
    pairs = examples(lengths)
    source = Pairs(pairs, len(pairs), pad=0, packing=True)
    rows = np.arange(len(pairs))
    batch = source.batch(rows)
    assert batch.positions is not None
    assert batch.learned == source.learned(rows)
    found = []
    for ids, places in zip(batch.inputs.tolist(), batch.positions.tolist(), strict=True):
        starts = [at for at, place in enumerate(places) if place == 0]
        found += [tuple(ids[a:b]) for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]
    assert sorted(text for text in found if any(text)) == sorted(pair.ids for pair in pairs)
    learned = sorted(batch.labels[batch.labels != IGNORED].tolist())
    assert learned == sorted(i for pair in pairs for i in pair.ids[max(pair.prompt, 1) :])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_packed_pairs_have_the_losses_and_gradients_of_padded_ones(kind: str) -> None:
    pairs = examples([(12, 4), (3, 0), (5, 2), (4, 1), (9, 3), (2, 1)])
    rows = np.arange(len(pairs))
    made, gradients, losses = model(kind).eval(), [], []
    for packing in (False, True):
        source = Pairs(pairs, len(pairs), pad=0, packing=packing)
        loss = loss_sum(Learner(made), source.batch(rows), CPU) / source.learned(rows)
        made.zero_grad()
        torch.autograd.backward(loss)
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in made.parameters()])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for padded, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, padded, rtol=1e-4, atol=1e-5)
    assert source.batch(rows).inputs.numel() < len(pairs) * 12


def test_a_model_that_mixes_packed_texts_is_found_out() -> None:
    assert keeps_texts_apart(model("llama"))
    assert not keeps_texts_apart(BloomForCausalLM(BloomConfig(vocab_size=100, hidden_size=32, n_layer=1, n_head=2)))


def test_fine_tuning_with_packing_learns_and_wastes_fewer_tokens(tmp_path: Path) -> None:
    sft.main(prepare(tmp_path / "b", "pretrain", [{"text": t} for t in TEXTS], architecture=ARCHITECTURE, epochs=1))
    done = train(prepare(tmp_path / "w", "finetune", PAIRS, tmp_path / "b/output", epochs=1, packing=True))
    assert done.returncode == 0, done.stderr
    assert "do not" not in done.stderr
    assert (tmp_path / "w/output/model.safetensors").is_file()
