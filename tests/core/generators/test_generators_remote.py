"""The remote generator against a server on loopback that answers as OpenAI's chat API does."""

import json
import random

import pytest

from mercat.connect import RequestFailed
from mercat.errors import AddressRefused, ConfigError, ConnectError
from mercat.generators import Generated, Piece, Prompt
from mercat.generators.remote import OpenAI, events
from mercat.testing.connect import LocalServer, Say
from mercat.testing.generators import GeneratorContract

WORDS = [
    "the",
    "parcel",
    "is",
    "on",
    "its",
    "way",
    "to",
    "you",
    "and",
    "will",
    "arrive",
    "on",
    "monday",
    ",",
    "we",
    "are",
    "sorry",
    "for",
    "late",
    "cards",
]


def written(body):
    """The tokens of an answer: drawn by prompt and seed, as a model would."""
    seed = body["seed"] if body["temperature"] > 0 else 0
    draw = random.Random(f"{body['messages']} {seed}")
    tokens = [" " + draw.choice(WORDS) for _ in range(body["max_tokens"])]
    for stop in body.get("stop", []):
        if (place := "".join(tokens).find(stop)) >= 0:
            return ["".join(tokens)[:place]], "stop"
    return tokens, "length"


def event(**fields):
    return f"data: {json.dumps({'object': 'chat.completion.chunk', **fields})}\n\n".encode()


def delta(text, finish=None):
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}], usage=None)


def answer(seen):
    if seen.path != "/v1/chat/completions":
        return Say(404)
    body = json.loads(seen.body)
    tokens, finish = written(body)
    usage = {"prompt_tokens": 7, "completion_tokens": len(tokens), "total_tokens": 7 + len(tokens)}
    if body.get("stream"):
        start = event(choices=[{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}])
        end = [delta("", finish), event(choices=[], usage=usage), b"data: [DONE]\n\n"]
        return Say(chunks=(b": hello\n\n", start, *map(delta, tokens), *end))
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(tokens)}, "finish_reason": finish}
    return Say(body=json.dumps({"choices": [choice], "usage": usage}).encode())


class World:
    def __init__(self):
        self.server, self.pauses, self.made = LocalServer(answer), [], []

    def generator(self, **options):
        given = {"model": "m", "allow": [self.server.host], "sleep": self.pauses.append}
        self.made.append(OpenAI(self.server.url + "/v1", **(given | options)))
        return self.made[-1]

    def says(self, *says):
        left = list(says)
        self.server.answer = lambda seen: left.pop(0) if left else answer(seen)

    def bodies(self):
        return [json.loads(seen.body) for seen in self.server.seen]

    def close(self):
        for each in self.made:
            each.close()


@pytest.fixture
def world():
    world = World()
    with world.server:
        yield world
        world.close()


@pytest.fixture(scope="class")
def standing():
    world = World()
    with world.server:
        yield world
        world.close()


class TestOpenAI(GeneratorContract):
    @pytest.fixture(autouse=True)
    def _world(self, standing):
        type(self).world = standing

    def generator(self):
        return self.world.generator()


def test_a_conversation_is_sent_as_it_was(world):
    prompt = Prompt("And today?", system="Be short.", before=[("user", "Open on Sunday?"), ("assistant", "No.")])
    world.generator().generate_many([prompt], max_tokens=5, temperature=0.5, seed=3, stop=["x"])
    assert world.bodies() == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": "Open on Sunday?"},
                {"role": "assistant", "content": "No."},
                {"role": "user", "content": "And today?"},
            ],
            "max_tokens": 5,
            "temperature": 0.5,
            "seed": 3,
            "stop": ["x"],
        }
    ]


def choice(content="Yes.", finish="stop", **more):
    return {"choices": [{"message": {"content": content}, "finish_reason": finish}], **more}


def says_json(world, answer):
    world.says(Say(body=json.dumps(answer).encode()))


def test_counts_that_a_server_does_not_tell_are_unknown(world):
    says_json(world, choice())
    assert world.generator().generate_many(["?"]) == [Generated("Yes.", "stop", None, None)]


@pytest.mark.parametrize(("finish", "wanted"), [("content_filter", "filtered"), ("length", "length"), ("stop", "stop")])
def test_why_an_answer_ended_is_told(world, finish, wanted):
    says_json(world, choice(None, finish, usage={"prompt_tokens": 3, "completion_tokens": 0}))
    assert world.generator().generate_many(["?"]) == [Generated("", wanted, 3, 0)]


def test_a_stop_text_that_a_server_left_in_is_cut(world):
    says_json(world, choice("Yes. User: and?", "length"))
    assert world.generator().generate_many(["?"], stop=["User:"])[0] == Generated("Yes. ", "stop", None, None)


def test_the_limit_has_the_name_that_the_server_wants(world):
    says_json(world, choice())
    world.generator(max_tokens_key="max_completion_tokens").generate_many(["?"], max_tokens=9)
    assert world.bodies()[0]["max_completion_tokens"] == 9
    assert "max_tokens" not in world.bodies()[0]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"choices": []},
        {"choices": ["Yes."]},
        {"choices": [{"message": {"content": "Yes."}}]},
        {"choices": [{"text": "Yes.", "finish_reason": "tool_calls"}]},
        choice(["Yes."]),
    ],
)
def test_answers_that_are_wrong_are_refused(world, wrong):
    says_json(world, wrong)
    with pytest.raises(ConnectError, match="An answer of 'm' was asked of localhost") as caught:
        world.generator().generate_many(["?"])
    assert caught.value.found
    assert caught.value.next


STREAMS = {
    "cut off": ((delta(" Yes"),), "broke off after 4 characters"),
    "nothing": ((), "broke off after 0 characters"),
    "an error": ((delta(" Yes"), event(error={"message": "out of memory"})), "out of memory"),
    "no JSON": ((b"data: <html>\n\n",), "<html>"),
    "no choices": ((b"data: {}\n\n",), "without choices"),
    "no text": ((delta(5),), "no text"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_are_wrong_are_refused(world, name):
    chunks, message = STREAMS[name]
    world.says(Say(chunks=chunks))
    with pytest.raises(ConnectError, match=message):
        list(world.generator().stream("?"))


def test_pieces_come_while_the_server_still_writes(world):
    world.says(Say(chunks=(delta(" Yes"), delta(", sure", "stop"), b"data: [DONE]\n\n"), pause_s=0.1))
    pieces = world.generator().stream("?")
    assert next(pieces) == Piece(" Yes")
    assert list(pieces)[-1] == Piece("", Generated(" Yes, sure", "stop", None, None))


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["data: a", "", "data:b", ""], ["a", "b"]),
        (["data: a", "data: b", ""], ["a\nb"]),
        ([": c", "event: x", "data: a", "id: 1", ""], ["a"]),
        (["", "", "data: a"], ["a"]),
        (["data:", ""], [""]),
    ],
)
def test_events_are_read_as_the_standard_says(lines, wanted):
    assert list(events(iter(lines))) == wanted


def test_a_busy_server_is_waited_for_and_a_key_is_not_shown(world):
    world.says(Say(429, headers={"Retry-After": "3"}), Say(503))
    asking = world.generator(api_key="sk-secret")
    assert asking.generate_many(["?"], max_tokens=2)[0].tokens == 2
    assert world.pauses[0] == 3.0
    world.says(Say(401, b"bad key sk-secret"))
    with pytest.raises(RequestFailed, match="Status 401") as caught:
        list(asking.stream("?"))
    assert "sk-secret" not in str(caught.value) + repr(asking)
    assert world.server.seen[-1].headers["authorization"] == "Bearer sk-secret"


def test_private_addresses_are_refused_unless_allowed_by_name(world):
    with pytest.raises(AddressRefused, match="allow = "):
        world.generator(allow=[]).warm_up()
    with pytest.raises(AddressRefused):
        list(world.generator(allow=[]).stream("?"))
    assert world.server.seen == []


@pytest.mark.parametrize("wrong", [{"url": ""}, {"model": ""}])
def test_an_address_and_a_model_are_needed(wrong):
    with pytest.raises(ConfigError):
        OpenAI(**({"url": "https://api.example/v1", "model": "m"} | wrong))


def test_a_section_builds_it_by_name(world, tmp_path, monkeypatch):
    import mercat

    monkeypatch.setenv("CHAT_KEY", "sk-from-outside")
    (tmp_path / "mercat.toml").write_text(
        f'[generators.far]\nuse = "openai"\nurl = "{world.server.url}/v1"\nmodel = "m"\n'
        f'allow = ["{world.server.host}"]\napi_key = {{ env = "CHAT_KEY" }}\n'
    )
    with mercat.open(tmp_path / "mercat.toml") as app:
        assert app.get("generators", "far").generate_many(["?"], max_tokens=4)[0].tokens == 4
    assert world.server.seen[0].headers["authorization"] == "Bearer sk-from-outside"
