"""What the airlock lets in and what it refuses; broken files of every kind never crash it and never pass."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import time
import zipfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_resources.blobs import StoredFile
from llmops_resources.catalog.airlock import AirlockReport, inspect, safetensors
from llmops_resources.catalog.airlock.selection import select
from tests.model_files import CONFIG, TOKENIZER, VOCABULARY, model_files, weights


def looked_at(files: dict[str, bytes]) -> AirlockReport:
    stored = [StoredFile(path=path, size=len(content), sha256="0" * 64) for path, content in files.items()]
    return inspect(stored, lambda path, start, length: files[path][start : start + length])


def changed(**files: bytes | None) -> AirlockReport:
    """The verdict on a good model with some files replaced, added or (None) left out; `_` stands for a dot."""
    named = {name.replace("__", "/").replace("_", "."): content for name, content in files.items()}
    return looked_at({path: data for path, data in {**model_files(), **named}.items() if data is not None})


def refused(report: AirlockReport) -> str:
    assert not report.accepted
    assert all(problem.remedy for problem in report.problems)
    return "; ".join(f"{problem.path} {problem.problem}" for problem in report.problems)


def packed(header: Any, data: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def test_a_sound_model_passes_and_its_figures_are_told() -> None:
    report = looked_at(model_files(100))
    assert report.accepted
    assert not report.needs_conversion
    assert report.summary["tensors"] == 2
    assert report.summary["parameters"] == VOCABULARY * 32 + 100
    assert report.summary["tokenizer"] == {"kind": "BPE", "tokens": VOCABULARY}


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
UNSOUND: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "too few"),
    "length beyond all files": (struct.pack("<Q", 2**63) + b"{}", "at most"),
    "length beyond the file": (struct.pack("<Q", 4000) + b"{}", "in a file of"),
    "length just over the cap": (struct.pack("<Q", safetensors.MAX_HEADER_BYTES + 1) + b"{}", "at most"),
    "a list": (packed([1], 8), "not a JSON object"),
    "no tensors": (packed({}, 8), "no tensors"),
    "duplicate tensor": (packed(b'{"a":%s,"a":%s}' % ((json.dumps(ONE).encode(),) * 2), 8), "stands twice"),
    "duplicate field": (packed(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8), "twice"),
    "overlap": (packed({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, 12), "overlaps"),
    "same bytes twice": (packed({"a": ONE, "b": ONE}, 8), "overlaps"),
    "gap": (packed({"a": ONE, "b": {**ONE, "data_offsets": [12, 20]}}, 20), "gap"),
    "beyond the end": (packed({"a": ONE}, 4), "beyond"),
    "trailing bytes": (packed({"a": ONE}, 9), "belong to none"),
    "backwards": (packed({"a": {**ONE, "data_offsets": [8, 0]}}, 8), "start and an end"),
    "negative": (packed({"a": {**ONE, "data_offsets": [-8, 0]}}, 8), "start and an end"),
    "shape and bytes differ": (packed({"a": {**ONE, "shape": [3]}}, 8), "need"),
    "product overflows 64 bits": (packed({"a": {**ONE, "shape": [2**33, 2**33]}}, 8), "need"),
    "true is no number": (packed({"a": {**ONE, "shape": [True, 2]}}, 8), "whole numbers"),
    "NaN": (packed(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', 8), "NaN"),
    "number of 10,000 digits": (packed(b'{"a":{"dtype":"F32","shape":[%s]}}' % (b"9" * 10_000), 8), "not JSON"),
    "deep nesting": (packed(b'{"a":' + b"[" * 100_000, 8), "nested too deeply"),
    "unknown dtype": (packed({"a": {**ONE, "dtype": "Q4_K"}}, 8), "unknown dtype"),
    "extra field": (packed({"a": {**ONE, "code": "x"}}, 8), "exactly"),
    "not UTF-8": (packed(b'{"\xff":1}', 8), "UTF-8"),
    "control characters": (packed({"a\u202eb": ONE}, 8), "unprintable"),
    "metadata with numbers": (packed({"__metadata__": {"a": 1}, "a": ONE}, 8), "__metadata__"),
    "a pickle": (pickle.dumps({"a": 1}), "pickle"),
    "NumPy": (b"\x93NUMPY\x01\x00" + bytes(100), "NumPy"),
    "GGUF with giant counts": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60), "GGUF"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_safetensors_file_is_refused_with_the_reason(name: str) -> None:
    content, reason = UNSOUND[name]
    assert reason in refused(changed(model_safetensors=content))


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_mutated_safetensors_file_crashes_the_airlock_or_passes_against_its_own_arithmetic(data: Any) -> None:
    """What passes after a mutation is a file whose tensors still fill its data exactly, which is checked apart."""
    content = bytearray(weights(64))
    head = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(head + 8, len(content) - 1)))
        kind = data.draw(st.sampled_from(["flip", "insert", "cut", "digit"]))
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        elif kind == "digit":
            content[at : at + 1] = str(data.draw(st.integers(0, 99))).encode()
        elif len(content) > 40:
            del content[at : at + data.draw(st.integers(1, 30))]
    started = time.process_time()
    report = looked_at({**model_files(), "model.safetensors": bytes(content)})
    assert time.process_time() - started < 2
    if report.accepted:
        assert _fills(bytes(content))


def _fills(content: bytes) -> bool:
    """The format's promise, computed anew with nothing of the airlock's."""
    length = int.from_bytes(content[:8], "little")
    pairs = json.loads(content[8 : 8 + length], object_pairs_hook=list)
    tensors = [dict(entry) for name, entry in pairs if name != "__metadata__"]
    ends = sorted(tuple(tensor["data_offsets"]) for tensor in tensors)
    width = {"F32": 4, "I32": 4, "U32": 4, "U8": 1, "I8": 1, "F64": 8, "I64": 8, "U64": 8, "C64": 8}
    sizes = all(
        tensor["data_offsets"][1] - tensor["data_offsets"][0]
        == width.get(tensor["dtype"], 2 if "16" in tensor["dtype"] else 1) * _product(tensor["shape"])
        for tensor in tensors
    )
    starts = [0, *(end for _, end in ends)]
    return sizes and [start for start, _ in ends] == starts[:-1] and starts[-1] == len(content) - 8 - length


def _product(numbers: list[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), name=st.sampled_from(["config.json", "tokenizer.json", "model.safetensors"]))
def test_random_bytes_in_place_of_any_file_are_refused(content: bytes, name: str) -> None:
    assert not looked_at({**model_files(), name: content}).accepted


def _zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("../../etc/cron.d/job")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


FOREIGN = {
    "model.zip": _zipped("../../escape.py", b"import os"), "model.tar": _tarred(), "model.tgz": gzip.compress(b"0"),
    "model.7z": b"7z\xbc\xaf\x27\x1c", "model.pkl": pickle.dumps(1), "model.joblib": b"\x80\x04",
    "scaler.npy": b"\x93NUMPY", "vectors.npz": _zipped("a.npy", b"\x93NUMPY"), "model.gguf": b"GGUF",
    "modeling_x.py": b"import os", "run.sh": b"#!/bin/sh", "page.html": b"<script>", "logo.svg": b"<svg onload=x>",
    "model.onnx": b"\x08", "optimizer.pt": b"PK\x03\x04", "training_args.bin": b"PK\x03\x04", "lib.so": b"\x7fELF",
    "sub/config.json": b"{}", "thing.xyz": b"1", "model.pth": b"PK\x03\x04",
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_no_model_needs_is_refused_with_the_way_out(name: str) -> None:
    assert name in refused(looked_at({**model_files(), name: FOREIGN[name]}))


@pytest.mark.parametrize("name", ["notes.txt", "vocab.json", "README.md", "tokenizer.model", "model.safetensors"])
@pytest.mark.parametrize("kind", ["zip", "tar", "gzip", "pickle"])
def test_an_archive_or_a_pickle_under_another_name_is_refused(name: str, kind: str) -> None:
    content = {"zip": _zipped("a.pkl", pickle.dumps(1)), "tar": _tarred(), "gzip": gzip.compress(b"0" * 100),
               "pickle": pickle.dumps([1] * 20)}[kind]  # fmt: skip
    assert name in refused(looked_at({**model_files(), name: content}))


def test_pickled_weights_are_accepted_only_to_be_converted() -> None:
    report = changed(model_safetensors=None, pytorch_model_bin=None)
    assert "there are no weights" in refused(report)
    files = {**model_files(), "pytorch_model.bin": _zipped("archive/data.pkl", pickle.dumps({}))}
    assert "beside safetensors" in refused(looked_at(files))
    del files["model.safetensors"]
    report = looked_at(files)
    assert (report.accepted, report.needs_conversion) == (True, True)
    assert "torch.save" in refused(looked_at({**files, "pytorch_model.bin": b"\x7fELF" * 10}))


def _config(**fields: Any) -> bytes:
    return json.dumps({**CONFIG, **fields}).encode()


INCONSISTENT: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no config": ({"config_json": None}, "config.json is missing"),
    "no tokenizer": ({"tokenizer_json": None}, "there is no tokenizer"),
    "vocabulary of another model": ({"config_json": _config(vocab_size=32)}, "no tensor of the weights has that shape"),
    "width of another model": ({"config_json": _config(hidden_size=64)}, "no tensor of the weights has that shape"),
    "sizes that are no numbers": ({"config_json": _config(hidden_size="32; rm -rf")}, "hidden_size is"),
    "giant size": ({"config_json": _config(vocab_size=10**18)}, "vocab_size is"),
    "own code": ({"config_json": _config(auto_map={"AutoModel": "x--y.Z"})}, "auto_map"),
    "own code deep inside": ({"config_json": _config(a=[{"b": {"auto_map": {}}}])}, "auto_map"),
    "own tokenizer code": ({"tokenizer_config_json": b'{"auto_map": {"AutoTokenizer": ["a.B", null]}}'}, "auto_map"),
    "special token outside": ({"config_json": _config(eos_token_id=VOCABULARY)}, "outside the vocabulary"),
    "negative token": ({"config_json": _config(bos_token_id=[1, -5])}, "outside the vocabulary"),
    "tokenizer too large": (
        {"tokenizer_json": json.dumps({**TOKENIZER, "added_tokens": [{"id": 64, "content": "x"}]}).encode()},
        "has a token with id 64",
    ),
    "added token outside": ({"tokenizer_config_json": b'{"added_tokens_decoder": {"9999": {}}}'}, "9999"),
    "two tokens of one id": ({"tokenizer_json": b'{"model": {"vocab": {"a": 0, "b": 0}}}'}, "the same id"),
    "unknown tokenizer": ({"tokenizer_json": b'{"model": {"type": "Exec", "vocab": {"a": 0}}}'}, "unknown kind"),
    "config twice the key": ({"config_json": b'{"vocab_size": 64, "vocab_size": 64}'}, "stands twice"),
    "config is a list": ({"config_json": b"[]"}, "not an object"),
}  # fmt: skip


@pytest.mark.parametrize("name", INCONSISTENT)
def test_a_config_or_tokenizer_that_does_not_fit_the_weights_is_refused(name: str) -> None:
    files, reason = INCONSISTENT[name]
    fields = {key.replace("tokenizer_config_json", "tokenizer-config_json"): content for key, content in files.items()}
    renamed = {key.replace("_", ".").replace("tokenizer-config", "tokenizer_config"): c for key, c in fields.items()}
    report = looked_at({path: data for path, data in {**model_files(), **renamed}.items() if data is not None})
    assert reason in refused(report)


def test_a_generation_config_with_a_foreign_token_is_refused() -> None:
    assert "eos_token_id" in refused(looked_at({**model_files(), "generation_config.json": b'{"eos_token_id": 64}'}))


def test_a_missing_layer_is_named() -> None:
    config = _config(num_hidden_layers=2)
    embedding = {"dtype": "F32", "shape": [VOCABULARY, 32], "data_offsets": [0, 8192]}
    layer = {"dtype": "F32", "shape": [2], "data_offsets": [8192, 8200]}
    tensors = packed({"model.embed_tokens.weight": embedding, "model.layers.0.mlp.weight": layer}, 8200)
    assert "no layer 1" in refused(changed(config_json=config, model_safetensors=tensors))


def _sharded(index: Any) -> AirlockReport:
    files = {path: content for path, content in model_files().items() if path != "model.safetensors"}
    files["model-00001-of-00002.safetensors"] = weights()
    files["model-00002-of-00002.safetensors"] = packed({"rest": ONE}, 8)
    if index is not None:
        files["model.safetensors.index.json"] = json.dumps(index).encode()
    return looked_at(files)


def test_shards_pass_only_with_an_index_that_names_every_tensor_in_its_file() -> None:
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    right = {"model.embed_tokens.weight": first, "rest": second}
    assert _sharded({"weight_map": right}).accepted
    assert "is missing" in refused(_sharded(None))
    assert "where it is not" in refused(_sharded({"weight_map": {**right, "rest": first}}))
    assert "not there" in refused(_sharded({"weight_map": {**right, "more": "../../etc/passwd"}}))
    assert "does not name its tensor" in refused(_sharded({"weight_map": {"model.embed_tokens.weight": first}}))
    assert "weight_map" in refused(_sharded({"weight_map": []}))


TEMPLATES = {
    "a dunder": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a dunder by text": "{{ messages|map(attribute='__class__')|list }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "the filter attr": "{{ ''|attr('x') }}",
    "format": "{{ '{0.__class__}'.format(1) }}",
    "another template": "{% include '/etc/passwd' %}",
    "a power": "{{ 9**9**9**9 }}",
    "memory": "{{ 'x' * 10000000000 }}",
    "no end": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a flood": "{% for a in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}",
    "depth": "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    "length": "x" * 100_001,
    "not Jinja": "{% for %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_malicious_chat_template_is_refused(name: str) -> None:
    content = json.dumps({"chat_template": TEMPLATES[name]}).encode()
    assert "chat_template" in refused(looked_at({**model_files(), "tokenizer_config.json": content}))
    if name == "globals":
        report = looked_at({**model_files(), "chat_template.jinja": TEMPLATES[name].encode()})
        assert "chat_template.jinja" in refused(report)


def test_ordinary_chat_templates_pass_and_how_they_went_is_told() -> None:
    plain = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}"  # noqa: E501
    picky = "{{ raise_exception('roles must alternate') }}"
    templates = [{"name": "default", "template": plain}, {"name": "picky", "template": picky}]
    content = json.dumps({"chat_template": templates}).encode()
    report = looked_at({**model_files(), "tokenizer_config.json": content})
    assert report.accepted, report.problems
    assert list(report.summary["chatTemplates"].values()) == ["renders", "refuses a plain talk: roles must alternate"]


def test_a_hostile_name_is_shown_without_what_makes_it_hostile() -> None:
    report = looked_at({**model_files(), "<img onerror=x>\u202e\x00.exe": b"MZ"})
    assert not any(ord(character) < 32 or character == "\u202e" for character in refused(report))
    json.dumps(report.json_dict())


def test_a_million_files_are_refused_without_a_look_at_one() -> None:
    files = [StoredFile(path=f"a{n}.json", size=1, sha256="") for n in range(100_000)]
    report = inspect(files, lambda *_: pytest.fail("nothing is read"))
    assert "100,000 files" in refused(report)


def test_one_set_of_weights_is_chosen_out_of_a_repository() -> None:
    chosen, left_out = select(
        ["config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin", "consolidated.safetensors",
         "modeling.py", "onnx/model.onnx", "README.md", "flax_model.msgpack", "optimizer.pt"]
    )  # fmt: skip
    assert chosen == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert "pytorch_model.bin" in left_out
    assert select(["pytorch_model.bin", "config.json", "x.py"])[0] == ["config.json", "pytorch_model.bin"]
