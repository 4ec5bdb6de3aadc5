"""Model folders from strangers: each is refused with its reason, and nothing of it runs, hangs or fills the memory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError

Harm = Callable[[Path], None]


class _Runs:
    def __reduce__(self):
        return (os.system, ("touch ran",))


PICKLE = pickle.dumps(_Runs())
WEIGHTS = "model.safetensors"


def config(**changes) -> Harm:
    return in_json("config.json", **changes)


def in_json(name: str, **changes) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        read = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(read | changes))

    return harm


def text(name: str, content: str | bytes) -> Harm:
    def harm(folder: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)

    return harm


def renamed(name: str) -> Harm:
    return lambda folder: (folder / WEIGHTS).rename(folder / name) and None


def header(change: Callable[[dict], object]) -> Harm:
    """Change the header of the weights, and keep their bytes."""

    def harm(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        read = json.loads(data[8 : 8 + length])
        new = change(read)
        words = (new if isinstance(new, str) else json.dumps(read)).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(words)) + words + data[8 + length :])

    return harm


def first(**changes) -> Harm:
    return header(lambda read: next(entry for name, entry in read.items() if name != "__metadata__").update(changes))


def twice(read: dict) -> str:
    name = next(name for name in read if name != "__metadata__")
    return json.dumps(read)[:-1] + f', "{name}": {json.dumps(read[name])}}}'


def shifted(read: dict) -> None:
    for name, entry in read.items():
        if name != "__metadata__":
            entry["data_offsets"] = [offset + 8 for offset in entry["data_offsets"]]


def longer(name: str, to: int) -> Harm:
    return lambda folder: os.truncate(folder / name, to)


def appended(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(PICKLE)


def index(*names: str) -> Harm:
    def harm(folder: Path) -> None:
        shutil.copy(folder / WEIGHTS, folder.parent / "outside.safetensors")
        (folder / WEIGHTS).unlink()
        (folder / f"{WEIGHTS}.index.json").write_text(
            json.dumps({"weight_map": {str(n): each for n, each in enumerate(names)}})
        )

    return harm


def linked(name: str, to: str | None = None) -> Harm:
    def harm(folder: Path) -> None:
        outside = folder.parent / "outside"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(to or outside)

    return harm


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / WEIGHTS, "w") as archive:
        archive.writestr("data.pkl", PICKLE)


def pipe(name: str) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return harm


def without(name: str) -> Harm:
    """Take one tensor out of the weights, whole."""

    def harm(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        kept = {key: array for key, array in load_file(folder / WEIGHTS).items() if name not in key}
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})

    return harm


def short(name: str) -> Harm:
    """Leave one row of a tensor."""

    def harm(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        arrays = {key: array[:1].copy() if name in key else array for key, array in load_file(folder / WEIGHTS).items()}
        save_file(arrays, folder / WEIGHTS, metadata={"format": "pt"})

    return harm


def tokens(**changes) -> Harm:
    return in_json("tokenizer.json", **changes)


def far_token(folder: Path) -> None:
    path = folder / "tokenizer.json"
    read = json.loads(path.read_text())
    read["model"]["vocab"]["card"] = 1_000_000
    path.write_text(json.dumps(read))


DEEP = "[" * 200_000
CORPUS: dict[str, tuple[Harm, str]] = {
    # pickle in its many dresses
    "only a pickle": (renamed("pytorch_model.bin"), "never loads"),
    "only a checkpoint": (renamed("weights.ckpt"), "never loads"),
    "only a .pt": (renamed("model.pt"), "never loads"),
    "only arrays of objects": (renamed("weights.npy"), "never loads"),
    "a pickle named safetensors": (text(WEIGHTS, PICKLE), "header"),
    "a zip of a pickle named safetensors": (zipped, "header"),
    "a pickle named config": (text("config.json", PICKLE), "not JSON"),
    "a pickle named tokenizer": (text("tokenizer.json", PICKLE), "tokenizer.json cannot be read"),
    # code of the folder's own, or of a hub
    "auto_map": (config(auto_map={"AutoModel": "evil.Model"}), "asks to run code"),
    "auto_map far below": (config(text_config={"x": [{"auto_map": {}}]}), "asks to run code"),
    "auto_map of another repository": (config(auto_map={"AutoModel": "evil/repo--evil.Model"}), "asks to run code"),
    "trust_remote_code": (config(trust_remote_code=True), "asks to run code"),
    "custom_pipelines": (config(custom_pipelines={"x": {"impl": "evil.Pipe"}}), "asks to run code"),
    "an internal attention": (config(_attn_implementation_internal="evil/kernel"), "asks to run code"),
    "a kernel of the hub": (config(attn_implementation="evil/kernel"), "kernel to fetch"),
    "a kernel of the hub, underscored": (config(_attn_implementation="evil/kernel:run"), "kernel to fetch"),
    "a kernel per part": (config(attn_implementation={"": "evil/kernel"}), "kernel to fetch"),
    "code in the tokenizer": (
        in_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["e.T"]}),
        "asks to run code",
    ),
    "a module of the folder": (text("modules.json", '[{"idx": 0, "type": "evil.Layer", "path": ""}]'), "does not run"),
    "an adapter of another model": (text("adapter_config.json", '{"base_model_name_or_path": "/x"}'), "another model"),
    # headers
    "a header larger than the file": (text(WEIGHTS, struct.pack("<Q", 1 << 40) + b"{}"), "header"),
    "a header of all memory": (text(WEIGHTS, b"\xff" * 16), "header"),
    "an empty file": (text(WEIGHTS, b""), "header"),
    "a header that is a list": (header(lambda read: "[]"), "no object"),
    "a header without end": (header(lambda read: DEEP), "header"),
    "a name twice": (header(twice), "stands twice"),
    "tensors on top of each other": (first(data_offsets=[0, 0]), "bytes for shape"),
    "a tensor before the file": (first(data_offsets=[-8, 120]), "negative"),
    "a tensor beyond the file": (header(shifted), "gaps"),
    "a shape of all memory": (first(shape=[1 << 40, 1 << 20]), "bytes for shape"),
    "a negative shape": (first(shape=[-1, -32]), "negative"),
    "a shape of words": (first(shape=["a"]), "whole number"),
    "a number format that is none": (first(dtype="OBJECT"), "number format"),
    "bytes behind the tensors": (appended, "follow it"),
    # paths
    "parts above the folder": (index("../outside.safetensors"), "index.json names"),
    "parts anywhere": (index("/etc/passwd.safetensors"), "index.json names"),
    "parts above, backwards": (index("..\\outside.safetensors"), "index.json names"),
    "parts that are pickles": (index("part.bin"), "index.json names"),
    "parts that are not there": (index("model-00001-of-00002.safetensors"), "no complete"),
    "weights elsewhere by a link": (linked(WEIGHTS), "is a link"),
    "a config elsewhere by a link": (linked("config.json"), "is a link"),
    "a tokenizer elsewhere by a link": (linked("tokenizer.json"), "is a link"),
    "a pipe that never ends": (pipe("config.json"), "no config.json"),
    "weights from a pipe": (pipe(WEIGHTS), "no complete"),
    # claims
    "a thousand million layers": (config(num_hidden_layers=10**9), "num_hidden_layers"),
    "more layers than weights": (config(num_hidden_layers=900), "900 layers"),
    "a vocabulary of all memory": (config(vocab_size=10**11), "vocab_size"),
    "layers as wide as the sea": (config(intermediate_size=10**8), "intermediate_size"),
    "dimensions of all memory": (config(hidden_size=10**9), "hidden_size"),
    "dimensions below nothing": (config(hidden_size=-32), "hidden_size"),
    "dimensions that are a text": (config(hidden_size="32"), "hidden_size"),
    "heads that do not divide": (config(num_attention_heads=7), "7 attention heads"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads"),
    "a pad token that is code": (config(pad_token_id="__import__('os')"), "pad_token_id"),
    # files that do not fit each other, or are no files
    "a config that is a list": (text("config.json", "[1]"), "no JSON dict"),
    "a config without end": (text("config.json", DEEP), "not JSON"),
    "a config in another encoding": (text("config.json", b"\xff\xfe{}"), "not JSON"),
    "a config of the size of a film": (longer("config.json", 10**9), "bytes"),
    "a tokenizer of the size of a film": (longer("tokenizer.json", 10**9), "bytes"),
    "a tokenizer of another kind": (tokens(model={"type": "Evil"}), "tokenizer.json cannot be read"),
    "a token beyond the weights": (far_token, "1000000"),
    "weights without words": (without("word_embeddings"), "not those of the BERT"),
    "weights without a layer": (without("layer.1."), "not those of the BERT"),
    "one word for a hundred": (short("word_embeddings"), "1 words"),
    "one position for many": (short("position_embeddings"), "1 positions"),
    "prompts that are a list": (in_json("config_sentence_transformers.json", prompts=["evil"]), ""),
}


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_refused_and_nothing_ran(name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harm, reason = CORPUS[name]
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "evil.py").write_text("open('ran', 'w')")
    harm(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(folder)
    encoder = Transformer(str(folder))
    if not reason:  # harmless: it is left unread
        assert encoder.encode(["my card"]).shape == (1, 32)
    else:
        with pytest.raises(ArtifactError) as caught:
            encoder.encode(["my card"])
        assert reason in caught.value.found
        assert caught.value.asked and caught.value.next
    assert not (tmp_path / "ran").exists()


def test_links_of_the_hubs_own_cache_are_followed(tiny: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / "abc"
    shutil.copytree(tiny, repository / "blobs")
    snapshot.mkdir(parents=True)
    for path in (repository / "blobs").iterdir():
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    assert Transformer(str(snapshot)).encode(["my card"]).shape == (1, 32)


def test_a_hostile_folder_costs_little_memory(tiny: Path, tmp_path: Path) -> None:
    """A config that would build a model of terabytes is refused in a process that may take two gigabytes."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    config(num_hidden_layers=999, intermediate_size=10**6)(folder)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from mercat.encoders.transformer import Transformer\n"
        "from mercat.errors import ArtifactError\n"
        "try: Transformer(sys.argv[1]).fingerprint\n"
        "except ArtifactError as error: print('refused', error.found)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("refused"), ran.stderr
