"""The remote encoder against a server on loopback that answers as OpenAI and text-embeddings-inference do."""

import json

import numpy as np
import pytest

from mercat.connect import RequestFailed
from mercat.encoders.hashing import Hashing
from mercat.encoders.remote import Remote
from mercat.errors import AddressRefused, ConfigError, ConnectError
from mercat.testing.connect import LocalServer, Say
from mercat.testing.encoders import TEXTS, EncoderContract

TRUTH = Hashing(dimensions=32)


def openai(texts, *, scale=3.0, turned=True):
    """The vectors with their indexes, last first, and not of length 1."""
    rows = [
        {"object": "embedding", "index": at, "embedding": (vector * scale).tolist()}
        for at, vector in enumerate(TRUTH.encode(texts).astype(float))
    ]
    return {"object": "list", "data": rows[::-1] if turned else rows, "model": "m", "usage": {"prompt_tokens": 1}}


def answer(seen):
    """Answer any request as its API does, and refuse what the real servers refuse."""
    body = json.loads(seen.body)
    texts = body["inputs"] if seen.path == "/embed" else body["input"]
    if not texts or not all(texts) or len(texts) > 32:
        return Say(413, b'{"error": "batch size"}')
    if seen.path == "/embed":
        return Say(body=json.dumps(TRUTH.encode(texts).tolist()).encode())
    if seen.path != "/v1/embeddings":
        return Say(404)
    return Say(body=json.dumps(openai(texts)).encode())


class World:
    def __init__(self):
        self.server, self.pauses, self.made = LocalServer(answer), [], []

    def remote(self, api="openai", **options):
        path = "/v1" if api == "openai" else ""
        given = {"model": "m", "api": api, "allow": [self.server.host], "sleep": self.pauses.append}
        self.made.append(Remote(self.server.url + path, **(given | options)))
        return self.made[-1]

    def says(self, *says):
        """Answer with these in turn, afterwards as usual."""
        left = list(says)
        self.server.answer = lambda seen: left.pop(0) if left else answer(seen)

    def bodies(self):
        return [json.loads(seen.body) for seen in self.server.seen]


@pytest.fixture
def world():
    world = World()
    with world.server:
        yield world
        for each in world.made:
            each.close()


@pytest.fixture(scope="class")
def standing():
    world = World()
    with world.server:
        yield world
        for each in world.made:
            each.close()


class TestOpenAI(EncoderContract):
    api = "openai"

    @pytest.fixture(autouse=True)
    def _world(self, standing):
        type(self).world = standing

    def encoder(self):
        return self.world.remote(self.api)


class TestTei(TestOpenAI):
    api = "tei"


@pytest.mark.parametrize("api", ["openai", "tei"])
def test_vectors_are_the_servers_in_the_order_of_the_texts_and_of_length_one(world, api):
    texts = [f"card {number}" for number in range(70)]
    np.testing.assert_allclose(world.remote(api).encode(texts), TRUTH.encode(texts), atol=1e-5)
    assert [len(body.get("input") or body["inputs"]) for body in world.bodies()] == [
        1,
        32,
        32,
        6,
    ]  # one to ask the width


def test_the_width_is_asked_once_by_however_many(world):
    remote = world.remote()
    assert {remote.dimensions, remote.dimensions, remote.info().dimensions} == {32}
    assert remote.fingerprint == remote.fingerprint
    assert len(world.server.seen) == 1


def test_a_width_that_is_given_is_not_asked_but_sent_and_checked(world):
    remote = world.remote(dimensions=32)
    assert remote.fingerprint
    assert world.server.seen == []
    remote.encode(["card"])
    assert world.bodies() == [{"model": "m", "input": ["card"], "encoding_format": "float", "dimensions": 32}]
    with pytest.raises(ConnectError, match=r"Vectors of 32 dimensions, not 16.*Try: dimensions = 32"):
        world.remote(dimensions=16).encode(["card"])


def test_the_fingerprint_is_that_of_address_model_width_prefixes_and_cut(world):
    base = {"dimensions": 32}
    changed = [{"model": "n"}, {"dimensions": 8}, {"query_prefix": "q: "}, {"max_chars": 9}, {"api": "tei"}]
    found = {world.remote(**(base | change)).fingerprint for change in [{}, *changed]}
    assert len(found) == 6
    assert world.remote(**base, batch_rows=1, retries=0).fingerprint in found


def test_prefixes_go_before_texts_by_role_and_texts_are_cut(world):
    remote = world.remote(query_prefix="query: ", document_prefix="passage: ", max_chars=12, dimensions=32)
    remote.encode(["refund please"], role="query")
    remote.encode(["refund"])
    assert [body["input"] for body in world.bodies()] == [["query: refun"], ["passage: ref"]]


def test_the_key_goes_along_and_no_message_shows_it(world):
    remote = world.remote(api_key="sk-very-secret", retries=0)
    world.says(Say(401, b'{"error": "bad key sk-very-secret"}'))
    with pytest.raises(RequestFailed, match="Status 401") as caught:
        remote.encode(["card"])
    assert "sk-very-secret" not in str(caught.value) + repr(remote)
    assert world.server.seen[0].headers["authorization"] == "Bearer sk-very-secret"
    world.remote().encode(["card"])
    assert "authorization" not in world.server.seen[-1].headers


def test_a_busy_server_is_waited_for_as_long_as_it_asks(world):
    world.says(Say(429, headers={"Retry-After": "7"}), Say(503), Say(hang_up=True))
    assert world.remote().encode(["card"]).shape == (1, 32)
    assert len(world.pauses) == 3
    assert world.pauses[0] == 7.0


def test_a_server_that_stays_busy_is_an_error(world):
    world.says(*[Say(429, b"slow down")] * 3)
    with pytest.raises(RequestFailed, match="Status 429: slow down") as caught:
        world.remote(retries=2).encode(["card"])
    assert caught.value.passing
    assert len(world.server.seen) == 3


def spoilt(**changes):
    return json.dumps(openai(["a", "b"]) | changes).encode()


def rows(*embeddings, indexes=(0, 1)):
    data = [{"index": at, "embedding": each} for at, each in zip(indexes, embeddings, strict=True)]
    return json.dumps({"data": data}).encode()


ONE, TWO = [1.0, 0.0], [0.0, 1.0]
WRONG = {
    "no JSON": (b"<html>", "JSON was expected"),
    "a list": (b"[]", "without a list 'data'"),
    "no data": (b"{}", "without a list 'data'"),
    "data of texts": (spoilt(data=["a", "b"]), "without a list 'data'"),
    "one too few": (rows(ONE, indexes=(0,)), "1 vectors for 2 texts"),
    "one too many": (rows(ONE, TWO, ONE, indexes=(0, 1, 2)), "3 vectors for 2 texts"),
    "an index twice": (rows(ONE, TWO, indexes=(1, 1)), r"indexes \[1, 1\]"),
    "an index beyond": (rows(ONE, TWO, indexes=(0, 2)), r"indexes \[0, 2\]"),
    "an index of text": (rows(ONE, TWO, indexes=("0", "1")), "2 vectors for 2 texts"),
    "widths that differ": (rows(ONE, [1.0]), "no lists of one length"),
    "no vector": (rows(ONE, None), "no lists of one length"),
    "empty vectors": (rows([], []), "no lists of one length"),
    "base64": (rows("AACAPw==", "AACAPw=="), "no lists of one length"),
    "not a number": (rows(ONE, [0.0, float("nan")]), "not finite numbers"),
    "endless": (rows(ONE, [0.0, float("inf")]), "not finite numbers"),
    "beyond all bounds": (rows(ONE, [0, 10**400]), "not finite numbers"),
    "texts as numbers": (rows(ONE, ["0.1", "0.2"]), "not finite numbers"),
    "true": (rows(ONE, [True, False]), "not finite numbers"),
    "no direction": (rows(ONE, [0.0, 0.0]), "length 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_answers_that_are_wrong_are_refused(world, name):
    body, message = WRONG[name]
    world.says(Say(body=body))
    with pytest.raises(ConnectError, match=message) as caught:
        world.remote(dimensions=2).encode(["a", "b"])
    assert caught.value.asked
    assert caught.value.next
    assert len(world.server.seen) == 1


@pytest.mark.parametrize("body", [b"{}", b"[[1.0], [1.0], [1.0]]", b"[[1.0], 2.0]", b"[[1.0], [NaN]]"])
def test_the_other_api_is_checked_alike(world, body):
    world.says(Say(body=body))
    with pytest.raises(ConnectError):
        world.remote("tei", dimensions=1).encode(["a", "b"])


def test_an_answer_that_is_too_large_is_refused(world):
    with pytest.raises(RequestFailed, match="larger than 100 bytes"):
        world.remote(max_bytes=100).encode(["card"])


def test_private_addresses_are_refused_unless_allowed_by_name(world):
    with pytest.raises(AddressRefused, match="allow = "):
        world.remote(allow=[]).encode(["card"])
    with pytest.raises(AddressRefused, match="link-local"):
        Remote("http://169.254.169.254/v1", model="m").warm_up()
    assert world.server.seen == []


@pytest.mark.parametrize(
    "wrong", [{"api": "cohere"}, {"dimensions": 0}, {"batch_rows": 0}, {"max_chars": 0}, {"model": ""}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError) as caught:
        Remote("https://api.example/v1", **({"model": "m"} | wrong))
    assert caught.value.next


def test_a_section_takes_the_key_from_the_environment(world, tmp_path, monkeypatch):
    import mercat

    monkeypatch.setenv("VECTORS_KEY", "sk-from-outside")
    (tmp_path / "mercat.toml").write_text(
        f'[encoders.far]\nuse = "remote"\nurl = "{world.server.url}/v1"\nmodel = "m"\n'
        f'allow = ["{world.server.host}"]\napi_key = {{ env = "VECTORS_KEY" }}\n'
    )
    with mercat.open(tmp_path / "mercat.toml") as app:
        found = app.get("encoders", "far").encode(TEXTS[:2], role="query")
    np.testing.assert_allclose(found, TRUTH.encode(TEXTS[:2]), atol=1e-5)
    assert {seen.headers["authorization"] for seen in world.server.seen} == {"Bearer sk-from-outside"}
