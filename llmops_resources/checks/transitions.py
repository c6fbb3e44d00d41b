"""The decisions of spaCy's entity recognizer, taken for all tokens of a batch at once instead of one after the other.

The recognizer (spaCy's transition-based model, BILUO moves, greedy) sees, at a token outside an entity, nothing but
that token: its scores there do not depend on what was decided before, so one matrix product gives them for all tokens.
Only where the best move begins an entity does a state with a past exist, and within an entity two moves compete: go on,
or end. Every possible beginning is followed to its end, all of them a token at a time; then each text is walked from
left to right and takes the beginnings that it meets. The moves, the features and what is allowed when are those of
spaCy 3.8 (`ner.pyx`, `_state.pxd`); `Decoder.of` answers None for a model of another shape, and for one on which both
ways do not agree.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from spacy.tokens import Doc

_FEATURES = {3, 6}
_PROBES = (
    "Barack Obama met Angela Merkel in New York City on 3 March 2014. The United Nations paid $5 million.",
    "Apple\n\nInc.  hired Dr. Jane van der Berg-Smith on Monday; Microsoft Corporation of Seattle did not.",
    "hello",
)

#: (label, first token, token after the last)
Span = tuple[str, int, int]


class Decoder:
    """Reads entities from texts that the pipeline's tokenizer has split."""

    def __init__(self, recognizer: Any) -> None:
        model = recognizer.model
        self._vectors, self._lower, upper = (model.get_ref(name) for name in ("tok2vec", "lower", "upper"))
        self._features = int(self._lower.get_dim("nF"))
        self._bias = self._lower.get_param("b")
        self._weights, self._weights_bias = upper.get_param("W").T.copy(), upper.get_param("b")
        moves = recognizer.moves
        names = [str(moves.get_class_name(index)) for index in range(moves.n_moves)]
        self._labels = sorted({name[2:] for name in names if name[:2] == "B-"})
        column = {name: index for index, name in enumerate(names)}
        order = [column[f"{move}-{label}"] for move in "BU" for label in self._labels] + [column["O"]]
        # Equal scores go to the move that spaCy lists first.
        self._outside = np.array(sorted(order))
        self._moves = [names[index] for index in self._outside]
        self._begins = np.array([name[:2] == "B-" for name in self._moves])
        self._opens = np.array([name != "O" for name in self._moves])
        self._label_of = np.array([self._labels.index(name[2:]) if name != "O" else -1 for name in self._moves])
        self._in = np.array([column[f"I-{label}"] for label in self._labels])
        self._last = np.array([column[f"L-{label}"] for label in self._labels])

    @classmethod
    def of(cls, pipeline: Any) -> Self | None:
        """A decoder for the pipeline's recognizer, or None when it cannot stand in for it."""
        recognizer = pipeline.get_pipe("ner")
        model = recognizer.model
        fits = (
            {"tok2vec", "lower", "upper"} <= set(model.ref_names)
            and model.attrs.get("has_upper")
            and not model.attrs.get("unseen_classes")
            and model.get_ref("lower").get_dim("nF") in _FEATURES
            and model.get_ref("lower").get_dim("nP") >= 2
            and not recognizer.cfg.get("beam_width", 1) > 1
        )
        if not fits:
            return None
        decoder = cls(recognizer)
        docs = [pipeline.make_doc(text) for text in _PROBES]
        decoded = decoder.spans(docs)
        recognized = [[(e.label_, e.start, e.end) for e in doc.ents] for doc in recognizer.pipe(docs)]
        return decoder if decoded == recognized else None

    def spans(self, docs: Sequence["Doc"], starts: NDArray[np.bool_] | None = None) -> list[list[Span]]:
        """The entities of each text. `starts`, for all tokens of all texts, marks those that begin a sentence."""
        lengths = [len(doc) for doc in docs]
        total = sum(lengths)
        if not total:
            return [[] for _ in docs]
        ends = np.cumsum(lengths)
        final = np.zeros(total, bool)
        final[ends[np.array(lengths) > 0] - 1] = True
        # No entity may go on from a final token, or into a token that begins a sentence.
        barred = final if starts is None else final | np.append(starts[1:], True)
        blank = np.concatenate([doc.to_array("IS_SPACE").astype(bool) for doc in docs])
        hidden = self._lower(self._vectors.predict([doc for doc in docs if len(doc)]), is_train=False)[0]
        best = self._best_outside(hidden, barred, blank)
        begins = np.flatnonzero(self._begins[best])
        last = dict(zip(begins.tolist(), self._followed(hidden, begins, best[begins], barred).tolist(), strict=True))
        labels = self._label_of[best]
        found, before = [], 0
        opening = np.flatnonzero(self._opens[best])
        for end in ends.tolist():
            spans: list[Span] = []
            free = before
            for token in opening[np.searchsorted(opening, before) : np.searchsorted(opening, end)].tolist():
                if token >= free:
                    free = last.get(token, token) + 1
                    spans.append((self._labels[labels[token]], token - before, free - before))
            found.append(spans)
            before = end
        return found

    def _best_outside(
        self, hidden: NDArray[np.float32], barred: NDArray[np.bool_], blank: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """For each token the best allowed move (an index of `_moves`), were it not in an entity."""
        absent = sum(hidden[0, feature] for feature in range(1, self._features))
        scores = self._scores(hidden[1:, 0] + absent)[:, self._outside]
        scores[np.ix_(barred, self._begins)] = -np.inf
        scores[np.ix_(blank, self._opens)] = -np.inf
        return np.asarray(scores.argmax(axis=1))

    def _followed(
        self, hidden: NDArray[np.float32], begins: NDArray[np.intp], moves: NDArray[np.intp], barred: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """For each beginning the last token of its entity."""
        last = np.full(len(begins), -1)
        running, token = np.arange(len(begins)), begins + 1
        label = self._label_of[moves]
        while len(running):
            scores = self._scores(self._inside(hidden, begins[running], token))
            each = np.arange(len(running))
            into, end = self._in[label[running]], self._last[label[running]]
            on, off = scores[each, into], scores[each, end]
            goes_on = ((on > off) | ((on == off) & (into < end))) & ~barred[token]
            last[running[~goes_on]] = token[~goes_on]
            running, token = running[goes_on], token[goes_on] + 1
        return last

    def _inside(
        self, hidden: NDArray[np.float32], begin: NDArray[np.intp], token: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """The summed features of states in an entity; row 0 of `hidden` stands for a feature that is absent."""
        if self._features == 3:
            rows = [token, begin, token - 1]
        else:
            rows = [token, *(np.where(begin + k < token, begin + k, -1) for k in range(5))]
        summed = hidden[rows[0] + 1, 0]
        for feature, row in enumerate(rows[1:], 1):
            summed = summed + hidden[row + 1, feature]
        return np.asarray(summed)

    def _scores(self, summed: NDArray[np.float32]) -> NDArray[np.float32]:
        hidden = (summed + self._bias).max(axis=-1)
        return np.asarray(hidden @ self._weights + self._weights_bias)
