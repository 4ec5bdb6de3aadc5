"""The local generator on a tiny random llama whose tokens are bytes, and on a small trained one where there is one."""

import json
import os
import shutil
from pathlib import Path

import pytest

from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.generators import Prompt
from mercat.generators.base import settled, until_stop
from mercat.generators.local import Local
from mercat.testing.generators import GeneratorContract

STORIES = Path(os.environ.get("MERCAT_MODELS", "")) / "stories260K" / "hf"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def copy_of(tiny_llama, tmp_path):
    """Return a function that copies the tiny model and changes one of its JSON files."""

    def copy(file="config.json", **changes):
        target = shutil.copytree(tiny_llama, tmp_path / f"copy-{len(list(tmp_path.iterdir()))}")
        path = target / file
        path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | changes))
        return target

    return copy


def local(folder, **options):
    return Local(str(folder), **({"device": "cpu", "dtype": "float32"} | options))


class TestLocal(GeneratorContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_llama):
        type(self).folder = tiny_llama

    def generator(self):
        return local(self.folder)


class TestLocalThatAnswers(TestLocal):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_t5):
        type(self).folder = tiny_t5


@pytest.mark.parametrize("prompt", ["Once upon a time", "x", "卡 has not arrived"])
def test_a_sequence_to_sequence_model_answers_as_transformers_does(tiny_t5, prompt):
    import torch
    from tokenizers import Tokenizer
    from transformers import T5ForConditionalGeneration

    tokenizer = Tokenizer.from_file(str(tiny_t5 / "tokenizer.json"))
    module = T5ForConditionalGeneration.from_pretrained(tiny_t5).eval()
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    (expected,) = module.generate(ids, max_new_tokens=10, do_sample=False)
    (found,) = local(tiny_t5).generate_many([prompt], max_tokens=10)
    assert found.text == tokenizer.decode(expected.tolist())
    assert found.prompt_tokens == ids.shape[1]
    assert "answers texts" in local(tiny_t5).info().note


def test_a_model_or_an_artifact():
    for options in ({}, {"model": "here", "artifact": "there"}):
        with pytest.raises(ConfigError, match="a model or an artifact"):
            Local(**options)
    with pytest.raises(ConfigError, match="no workspace"):
        Local(artifact="replies")


class TestLocalChat(TestLocal):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_llama, tmp_path_factory):
        if "folder" not in vars(type(self)):
            folder = shutil.copytree(tiny_llama, tmp_path_factory.mktemp("chat") / "chat")
            (folder / "chat_template.jinja").write_text(TEMPLATE)
            type(self).folder = folder


@pytest.fixture(scope="module")
def reference(tiny_llama):
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, use_safetensors=True)
    return module.eval(), Tokenizer.from_file(str(tiny_llama / "tokenizer.json"))


@pytest.mark.parametrize("prompt", ["Once upon a time", "x", "卡 has not arrived"])
def test_greedy_answers_are_those_of_transformers(tiny_llama, reference, prompt):
    import torch

    module, tokenizer = reference
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    given = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 1}
    wanted = module.generate(ids, attention_mask=torch.ones_like(ids), **given)[0, ids.shape[1] :].tolist()
    wanted = wanted[: wanted.index(1)] if 1 in wanted else wanted
    (found,) = local(tiny_llama).generate_many([prompt], max_tokens=20)
    assert (found.text, found.tokens) == (tokenizer.decode(wanted), len(wanted))
    assert found.prompt_tokens == ids.shape[1]


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_the_batch_makes_no_difference(tiny_llama, rows):
    prompts = ["a" * length for length in (3, 40, 1, 17, 9)]
    wanted = [local(tiny_llama).generate_many([prompt], max_tokens=15)[0] for prompt in prompts]
    assert local(tiny_llama, batch_rows=rows).generate_many(prompts, max_tokens=15) == wanted
    drawn = [local(tiny_llama).generate_many([each], max_tokens=15, temperature=1.5, seed=4)[0] for each in prompts]
    found = local(tiny_llama, batch_rows=rows).generate_many(prompts, max_tokens=15, temperature=1.5, seed=4)
    assert found == drawn != wanted


def test_a_token_that_ends_ends_the_answer(copy_of, tiny_llama):
    from tokenizers import Tokenizer

    (whole,) = local(tiny_llama).generate_many(["Once"], max_tokens=12)
    tokenizer = Tokenizer.from_file(str(tiny_llama / "tokenizer.json"))
    letter = next(char for char in whole.text[2:] if char.isascii())
    (end,) = tokenizer.encode(letter, add_special_tokens=False).ids
    for ends in (end, [1, end]):
        (found,) = local(copy_of("generation_config.json", eos_token_id=ends)).generate_many(["Once"], max_tokens=12)
        assert (found.text, found.finish) == (whole.text[: whole.text.index(letter)], "stop")


def test_an_answer_ends_with_the_room(tiny_llama):
    (found,) = local(tiny_llama).generate_many(["a" * 120], max_tokens=50)
    assert (found.prompt_tokens, found.tokens, found.finish) == (121, 7, "length")
    with pytest.raises(DataError, match="It has 128 tokens, the model room for 128"):
        local(tiny_llama).generate_many(["a" * 127])


def test_half_characters_wait_in_a_stream(tiny_llama):
    (whole,) = local(tiny_llama).generate_many(["é"], max_tokens=60, temperature=3.0, seed=1)
    pieces = list(local(tiny_llama).stream("é", max_tokens=60, temperature=3.0, seed=1))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert any(ord(char) > 127 for char in whole.text)


def test_a_conversation_goes_through_the_template(copy_of):
    folder = copy_of("tokenizer_config.json", chat_template=TEMPLATE, bos_token={"content": "<s>"})
    prompt = Prompt("Now?", system="Be short.", before=[("user", "Open?"), ("assistant", "No.")])
    plain = "<system>Be short.\n<user>Open?\n<assistant>No.\n<user>Now?\n<assistant>"
    chat, bare = local(folder), local(folder, template="none")
    assert chat.generate_many([prompt], max_tokens=9) == bare.generate_many([plain], max_tokens=9)
    assert chat.info().note.startswith("chat template")
    assert bare.info().note.startswith("continues texts")


def test_a_conversation_without_a_template_is_refused(tiny_llama, copy_of):
    with pytest.raises(ConfigError, match="It has no chat template"):
        local(tiny_llama).generate_many([Prompt("Now?", system="Be short.")])
    folder = copy_of("tokenizer_config.json", chat_template=TEMPLATE)
    with pytest.raises(ConfigError, match="without a chat template"):
        local(folder, template="none").generate_many([Prompt("Now?", before=[("user", "Open?")])])


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for x in range(10**9) %}{{ x }}{% endfor %}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_template_that_fails_or_reaches_out_is_an_error(copy_of, template):
    folder = copy_of("tokenizer_config.json", chat_template=template)
    with pytest.raises(ArtifactError, match="The chat template of") as caught:
        local(folder).generate_many(["Now?"])
    assert "template" in caught.value.next


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "asks to run code"),
        ("generation_config.json", {"custom_generate": "evil"}, "asks to run code"),
        ("config.json", {"architectures": ["LlamaModel"]}, "architectures"),
        ("config.json", {"is_encoder_decoder": True}, "architectures"),
        (
            "config.json",
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "decoder_start_token_id",
        ),
        ("config.json", {"num_hidden_layers": 900}, "claims 900 layers"),
        ("config.json", {"max_position_embeddings": None}, "max_position_embeddings"),
        ("generation_config.json", {"eos_token_id": "</s>"}, "is no token"),
    ],
)
def test_a_folder_that_generates_no_text_is_refused(copy_of, file, changes, message):
    with pytest.raises(ArtifactError, match=message):
        _ = local(copy_of(file, **changes)).folder


def test_weights_that_are_not_safetensors_are_refused(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin, which mercat never loads"):
        _ = local(folder).folder


def test_scores_that_are_no_numbers_are_an_error(tiny_llama, tmp_path):
    import numpy as np

    from mercat.artifacts import load_arrays, save_arrays

    folder = shutil.copytree(tiny_llama, tmp_path / "m")
    arrays = load_arrays(folder / "model.safetensors")
    arrays["model.norm.weight"] = np.full_like(arrays["model.norm.weight"], np.nan)
    save_arrays(folder / "model.safetensors", arrays)
    with pytest.raises(ArtifactError, match="not numbers"):
        local(folder).generate_many(["a"])


@pytest.mark.parametrize("wrong", [{"batch_rows": 0}, {"template": "chatml"}, {"device": "cuda:99"}])
def test_values_out_of_range_are_refused(tiny_llama, wrong):
    with pytest.raises(ConfigError) as caught:
        local(tiny_llama, **wrong).warm_up()
    assert caught.value.next


def test_an_empty_prompt_has_nothing_to_continue(copy_of, tiny_llama):
    folder = shutil.copytree(tiny_llama, copy_of().parent / "unmarked")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    with pytest.raises(DataError, match="It is empty"):
        local(folder).generate_many([""])
    assert local(tiny_llama).generate_many([""], max_tokens=2)[0].tokens == 2  # the mark at the beginning is enough


def test_closing_lets_go_and_a_section_builds_it_by_name(tiny_llama, tmp_path):
    import mercat

    (tmp_path / "mercat.toml").write_text(
        f'[generators.small]\nuse = "local"\nmodel = "{tiny_llama}"\ndevice = "cpu"\ndtype = "float32"\n'
    )
    with mercat.open(tmp_path / "mercat.toml") as app:
        generator = app.get("generators", "small")
        first = generator.generate_many(["Once"], max_tokens=5)
        generator.close()
        assert (
            generator.generate_many(["Once"], max_tokens=5)
            == first
            == local(tiny_llama).generate_many(["Once"], max_tokens=5)
        )


def test_what_may_begin_a_stop_text_waits():
    assert [settled(text, ["User:", "\n\n"]) for text in ("Yes. Us", "Yes.\n", "Yes. User", "Yes")] == [5, 4, 5, 3]
    assert until_stop("a User: b\n\nc", ["\n\n", "User:"]) == ("a ", True)


@pytest.mark.skipif(not STORIES.is_dir(), reason="MERCAT_MODELS names no folder with stories260K")
def test_a_trained_model_tells_its_story():
    generator = local(STORIES)
    (found,) = generator.generate_many(["Once upon a time"], max_tokens=80, stop=["red ball."])
    assert found.text == (
        ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, "
    )
    assert found.finish == "stop"
    pieces = list(generator.stream("Once upon a time", max_tokens=80, stop=["red ball."]))
    assert "".join(piece.text for piece in pieces) == found.text
    drawn = {generator.generate_many(["Once"], max_tokens=20, temperature=1.0, seed=seed)[0].text for seed in range(4)}
    assert len(drawn) == 4
