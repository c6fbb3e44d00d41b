"""The inspection of one model's files, from their names to their numbers."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from llmops_resources.blobs import StoredFile
from llmops_resources.catalog.airlock import config, names, safetensors, strict_json, templates, tokenizer
from llmops_resources.catalog.airlock.config import Architecture
from llmops_resources.catalog.airlock.disguise import HEAD_BYTES, disguise_of, is_torch_pickle
from llmops_resources.catalog.airlock.names import CONFIG, INDEX, Role
from llmops_resources.catalog.airlock.report import AirlockReport, Problems, shown
from llmops_resources.catalog.airlock.safetensors import Tensor
from llmops_resources.catalog.airlock.shards import check_shards
from llmops_resources.catalog.airlock.tokenizer import ADDED, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY, Tokens

Read = Callable[[str, int, int], bytes]

MAX_JSON_BYTES: Final = 64 * 1024**2
MAX_TEXT_BYTES: Final = 16 * 1024**2
MAX_SENTENCEPIECE_BYTES: Final = 64 * 1024**2


def inspect(files: Sequence[StoredFile], read: Read) -> AirlockReport:
    """Whether the files make a model that may enter, with every reason why not.

    `read(path, offset, length)` gives a part of a file's bytes; at most its headers and its text files are asked for,
    64 MiB at once. Bad content never raises; what `read` raises is passed on.
    """
    inspection = _Inspection(files, read)
    inspection.run()
    return inspection.report()


class _Inspection:
    """One inspection under way: the problems so far, and what was seen."""

    def __init__(self, files: Sequence[StoredFile], read: Read) -> None:
        self._files, self._read = {file.path: file for file in files}, read
        self._problems = Problems()
        self._roles = names.check_names([file.path for file in files], self._problems)
        self._json: dict[str, dict[str, Any]] = {}
        self._architecture: Architecture | None = None
        self._tensors: dict[str, Tensor] = {}
        self._tokens: Tokens | None = None
        self._templates: dict[str, str] = {}
        self._rendered: dict[str, str] = {}

    def run(self) -> None:
        """Every check, in the order in which a person would want to read the problems."""
        if not self._roles:
            return
        self._read_texts()
        if CONFIG in self._json:
            self._architecture = config.read_architecture(self._json[CONFIG], self._problems)
        elif CONFIG not in self._roles:
            self._problems.add(CONFIG, "is missing", "Upload it with the weights; save_pretrained writes it.")
        self._check_weights()
        self._check_tokenizer()
        for path, values in self._json.items():
            if path != CONFIG:
                config.refuse_code(path, values, self._problems)
        if self._architecture is not None and (generation := self._json.get("generation_config.json")):
            vocab_size = self._architecture.vocab_size
            config.check_token_ids("generation_config.json", generation, vocab_size, self._problems)
        self._check_templates()

    def report(self) -> AirlockReport:
        """The verdict."""
        pickled = sorted(path for path, role in self._roles.items() if role is Role.PICKLED_WEIGHTS)
        return AirlockReport(
            accepted=self._problems.total == 0,
            needs_conversion=bool(pickled),
            problems=tuple(self._problems.kept),
            summary=self._summary(pickled),
        )

    def _paths(self, *roles: Role) -> list[str]:
        return sorted(path for path, role in self._roles.items() if role in roles)

    def _read_texts(self) -> None:
        for path in self._paths(Role.JSON, Role.TEXT, Role.TEMPLATE, Role.SENTENCEPIECE):
            role = self._roles[path]
            limit = {Role.JSON: MAX_JSON_BYTES, Role.SENTENCEPIECE: MAX_SENTENCEPIECE_BYTES}.get(role, MAX_TEXT_BYTES)
            size = self._files[path].size
            if size > limit:
                self._problems.add(path, f"has {size:,} bytes; at most {limit:,} are read", "Upload the real file.")
            elif (other := disguise_of(self._read(path, 0, min(HEAD_BYTES, size)))) is not None:
                self._problems.add(path, f"is {other} under another name", "Upload the real file.")
            elif role is Role.JSON:
                self._parse(path, self._read(path, 0, size))
            elif role is not Role.SENTENCEPIECE:
                self._check_text(path, self._read(path, 0, size))

    def _parse(self, path: str, data: bytes) -> None:
        try:
            value = strict_json.parse(data)
        except strict_json.NotStrict as error:
            self._problems.add(path, str(error), "Upload the file as the tools that made the model write it.")
            return
        if isinstance(value, dict):
            self._json[path] = value
        elif path in {CONFIG, INDEX, TOKENIZER, TOKENIZER_CONFIG, ADDED, VOCABULARY}:
            self._problems.add(path, "is JSON, but not an object in braces", "Upload the real file.")

    def _check_text(self, path: str, data: bytes) -> None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self._problems.add(path, "is not UTF-8 text", "Upload it as plain text, or leave it out.")
        elif self._roles[path] is Role.TEMPLATE:
            self._templates[path] = text

    def _check_weights(self) -> None:
        sound, pickled = self._paths(Role.WEIGHTS), self._paths(Role.PICKLED_WEIGHTS)
        if sound and pickled:
            remedy = "Leave the .bin and .pt files out: the safetensors files hold the same weights."
            self._problems.add(pickled[0], "is there beside safetensors files", remedy)
        elif pickled:
            for path in pickled:
                if not is_torch_pickle(self._read(path, 0, min(HEAD_BYTES, self._files[path].size))):
                    self._problems.add(path, "is not what torch.save writes", "Save the weights as safetensors.")
        elif not sound:
            self._problems.add("model.safetensors", "is missing: there are no weights", "Upload the weights.")
        else:
            self._check_safetensors(sound)

    def _check_safetensors(self, paths: list[str]) -> None:
        headers: dict[str, dict[str, Tensor]] = {}
        for path in paths:
            try:
                headers[path] = safetensors.read_header(self._files[path].size, partial(self._read, path))
            except safetensors.Unsound as error:
                self._problems.add(path, error.problem, error.remedy)
        if len(headers) < len(paths):
            return
        self._tensors = check_shards(headers, self._json.get(INDEX), self._problems)
        if self._architecture is not None:
            config.check_weights(self._architecture, self._tensors, self._problems)

    def _check_tokenizer(self) -> None:
        if TOKENIZER in self._json:
            self._tokens = tokenizer.read_tokenizer(self._json[TOKENIZER], self._problems)
        elif VOCABULARY in self._json and "merges.txt" in self._roles:
            self._tokens = tokenizer.read_vocabulary(VOCABULARY, self._json[VOCABULARY], self._problems)
        elif not self._paths(Role.SENTENCEPIECE) and "vocab.txt" not in self._roles and TOKENIZER not in self._roles:
            remedy = "Upload the tokenizer with the weights: tokenizer.save_pretrained writes it."
            self._problems.add(TOKENIZER, "is missing: there is no tokenizer", remedy)
        added = self._json.get(ADDED)
        more = tokenizer.read_vocabulary(ADDED, added, self._problems) if added else None
        if self._architecture is None:
            return
        vocab_size = self._architecture.vocab_size
        for path, tokens in ((TOKENIZER, self._tokens), (ADDED, more)):
            if tokens is not None and tokens.largest >= vocab_size:
                self._problems.add(
                    path,
                    f"has a token with id {tokens.largest}, but the model's vocabulary has {vocab_size} rows",
                    "Upload the tokenizer that belongs to this model, or resize the model's embeddings to it.",
                )
        tokenizer.check_added(self._json.get(TOKENIZER_CONFIG, {}), vocab_size, self._problems)

    def _check_templates(self) -> None:
        for path, values in self._json.items():
            self._templates |= templates.found_in(path, values, self._problems)
        self._rendered = templates.check_templates(self._templates, self._problems)

    def _summary(self, pickled: list[str]) -> dict[str, Any]:
        dtypes: dict[str, int] = {}
        for tensor in self._tensors.values():
            dtypes[tensor.dtype] = dtypes.get(tensor.dtype, 0) + tensor.elements
        seen = self._architecture
        return {
            "files": len(self._files),
            "bytes": sum(file.size for file in self._files.values()),
            "problemCount": self._problems.total,
            "format": "safetensors" if self._paths(Role.WEIGHTS) else "pickle" if pickled else None,
            "pickles": [shown(path) for path in pickled[:20]],
            "weightFiles": len(self._paths(Role.WEIGHTS)),
            "tensors": len(self._tensors),
            "parameters": sum(dtypes.values()),
            "dtypes": dict(sorted(dtypes.items(), key=lambda pair: -pair[1])),
            "modelType": seen.model_type if seen else None,
            "architectures": list(seen.architectures) if seen else [],
            "vocabSize": seen.vocab_size if seen else None,
            "hiddenSize": seen.hidden_size if seen else None,
            "layers": seen.layers if seen else None,
            "contextLength": seen.context_length if seen else None,
            "tokenizer": {"kind": self._tokens.kind, "tokens": self._tokens.count} if self._tokens else None,
            "chatTemplates": self._rendered,
            "readme": any(PurePosixPath(path).name.lower() == "readme.md" for path in self._files),
        }
