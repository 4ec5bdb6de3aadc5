"""The desk against a real store, classifier and retriever: what is written, once, and what is never said."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import small_desk

from mercat.errors import DataError, UnknownName
from mercat.testing import ServiceContract
from mercat.values import Objection
from mercat.workspace import Workspace
from mercat_customer_service.tables import ConversationRow, TurnRow
from mercat_customer_service.values import Reply, Turn

CARD, HUMAN = "when will my new card arrive", "can I talk to a person please"


def say(workspace: Workspace, text: str, id: str = "", **more: Any) -> Reply:
    reply: Reply = workspace.get("services", "desk").answer(Turn(id=id, text=text, **{"conversation": "c1", **more}))
    return reply


def turns(workspace: Workspace, conversation: str = "c1") -> list[TurnRow]:
    return list(workspace.get("services", "desk").desk.read(conversation)[1])


def everything(workspace: Workspace) -> str:
    """Return all that the store holds about conversations and messages."""
    with workspace.store.transaction() as tx:
        rows = [tx.connection.exec_driver_sql(f"select * from {name}").all() for name in ("customer_service_turns", "customer_service_conversations", "outbox")]  # fmt: skip
    return repr(rows)


class TestContract(ServiceContract):
    requests = (Turn(id="1", conversation="a", text=CARD), Turn(id="2", conversation="b", text="please refund this"))

    @pytest.fixture(autouse=True)
    def desks(self, open_desk: Callable[..., Workspace]) -> None:
        self.open = open_desk

    def make(self) -> Any:
        return self.open().get("services", "desk")


def test_a_known_question_gets_the_approved_reply(workspace: Workspace) -> None:
    reply = say(workspace, CARD)
    assert (reply.value, reply.action, reply.intent) == ("Cards arrive within 5 days.", "reply", "card_arrival")
    assert reply.confidence >= 0.6
    assert not reply.abstained


def test_an_article_is_quoted_word_for_word_with_its_source(workspace: Workspace) -> None:
    reply = say(workspace, "wire transfers abroad take how many days fees")
    assert reply.action == "article"
    assert small_desk.ARTICLES[0].text.startswith(reply.value)
    assert [(hit.id, hit.url) for hit in reply.evidence] == [("a1", "https://help.example/1")]
    chinese = say(workspace, "储蓄罐的年利率是多少", conversation="c2")
    assert (chinese.action, chinese.locale, chinese.evidence[0].id) == ("article", "zh", "a2")


def test_the_same_request_twice_is_one_turn_one_reply_one_ticket(either: Workspace) -> None:
    first = [say(either, CARD, "r1"), say(either, HUMAN, "r2")]
    again = [say(either, CARD, "r1"), say(either, HUMAN, "r2")]
    assert again == first
    assert [(turn.number, turn.speaker) for turn in turns(either)] == [
        (1, "customer"), (2, "desk"), (3, "customer"), (4, "desk"),
    ]  # fmt: skip
    assert len(either.store.outbox()) == 1


def test_a_hand_off_is_in_the_outbox_with_its_transcript_or_nothing_is(either: Workspace) -> None:
    service = either.get("services", "desk")
    say(either, CARD)
    assert either.store.outbox() == []
    say(either, HUMAN)
    (message,) = either.store.outbox()
    assert (message.sink, message.kind, message.order) == ("tickets", "ticket", "c1")
    assert [line["speaker"] for line in message.payload["transcript"]] == ["customer", "desk", "customer", "desk"]
    assert message.payload["title"] == HUMAN
    before = everything(either)
    with pytest.raises(DataError):  # the whole batch is one transaction
        service.answer_many([Turn(id="x", conversation="c9", text=HUMAN), Turn(conversation="c9", text=" ")])
    send = service._ticket
    service._ticket = lambda *arguments: (send(*arguments), 1 / 0)
    with pytest.raises(ZeroDivisionError):
        say(either, HUMAN, "y", conversation="c8")
    assert everything(either) == before


def test_the_desk_is_silent_while_a_person_talks(workspace: Workspace) -> None:
    desk = workspace.get("services", "desk").desk
    say(workspace, HUMAN)
    desk.answer("c1", "Hello, this is Mia", request_id="p1")
    desk.answer("c1", "Hello, this is Mia", request_id="p1")
    silent = say(workspace, CARD)
    assert (silent.action, silent.value, silent.abstained) == ("silent", "", True)
    assert [turn.text for turn in turns(workspace) if turn.speaker == "person"] == ["Hello, this is Mia"]
    assert len(workspace.store.outbox()) == 1, "no second ticket while a person is there"
    desk.set_state("c1", "bot")
    assert say(workspace, CARD).action == "reply"
    say(workspace, HUMAN)
    assert len(workspace.store.outbox()) == 2, "another hand-off is another ticket"
    assert all(line["text"] for line in workspace.store.outbox()[1].payload["transcript"])


def test_who_writes_to_a_closed_conversation_opens_it_again(workspace: Workspace) -> None:
    desk = workspace.get("services", "desk").desk
    say(workspace, CARD)
    desk.set_state("c1", "closed")
    assert say(workspace, CARD).action == "reply"
    assert desk.read("c1")[0].state == "bot"
    with pytest.raises(UnknownName, match="closd"):
        desk.set_state("c1", "closd")


@pytest.mark.parametrize(
    ("text", "said", "reply"),
    [
        ("hm card my money back", "2", {"en": "We pay back within 5 days.", "en2": "Cards arrive within 5 days."}),
        ("hm card my money back", "Refund", {"en": "We pay back within 5 days."}),
    ],
)
def test_a_choice_is_made_by_its_number_or_its_title(
    open_desk: Callable[..., Workspace], text: str, said: str, reply: dict[str, str]
) -> None:
    workspace = open_desk(answer=0.999, choice=0.1, article=0.99)
    asked = say(workspace, text)
    assert asked.action == "ask"
    assert {"My card", "Refund"} <= set(asked.options)
    chosen = say(workspace, said)
    assert (chosen.action, chosen.confidence) == ("reply", 1.0)
    wanted = asked.options[1] if said == "2" else said
    assert workspace.get("services", "desk").replies.title(chosen.intent, "en") == wanted
    assert chosen.value in reply.values() or said == "2"


def test_a_number_is_in_the_language_of_the_conversation(open_desk: Callable[..., Workspace]) -> None:
    workspace = open_desk(answer=0.999, choice=0.1, article=0.99)
    asked = say(workspace, "hm card my money back", locale="zh-CN")
    assert asked.action == "ask", "no classifier speaks Chinese here"
    assert asked.options == ()
    with workspace.store.transaction() as tx:
        row = tx.session.get(ConversationRow, "c1")
        assert row is not None
        row.offered = ["refund", "card_arrival"]
        tx.session.add(row)
    chosen = say(workspace, "2")
    assert (chosen.value, chosen.locale) == ("卡会在5天内送达。", "zh")


def test_a_withheld_answer_leaves_no_trace_of_its_words(workspace: Workspace) -> None:
    service = workspace.get("services", "desk")
    request = Turn(id="r1", conversation="c1", text=CARD)
    reply = service.answer(request)
    instead = service.hand_over(request, reply, [Objection("it promises a date", "reviewer")])
    assert (instead.action, instead.evidence, instead.options) == ("hand_over", (), ())
    assert instead.reasons == ("withheld: it promises a date",)
    assert "within 5 days" not in everything(workspace)
    assert service.answer(request) == instead, "asked again, it is the hand-off that is said again"
    service.hand_over(request, instead, [Objection("again")])
    assert len(workspace.store.outbox()) == 1
    assert service.desk.read("c1")[0].state == "person"


def test_personal_data_is_redacted_wherever_a_turn_goes(workspace: Workspace) -> None:
    say(workspace, "my mail is anna.kowalska@example.com and my phone 13812345678, card 4111 1111 1111 1111")
    say(workspace, HUMAN)
    kept = everything(workspace)
    for secret in ("anna.kowalska", "13812345678", "4111 1111", "4111"):
        assert secret not in kept
    assert "[EMAIL]" in json.dumps(workspace.store.outbox()[0].payload)


def test_a_customer_can_be_erased(either: Workspace) -> None:
    say(either, "a question of somebody unknown")  # the customer signs in after the first turn
    say(either, HUMAN, customer="anna")
    say(either, CARD, conversation="c2", customer="bert")
    erased = either.store.erase("anna")
    assert erased == {"customer_service_conversations": 1, "customer_service_turns": 4, "outbox": 1}
    left = everything(either)
    assert "anna" not in left
    assert "somebody unknown" not in left
    assert len(turns(either, "c2")) == 2


def test_nobody_goes_on_with_the_conversation_of_another_customer(workspace: Workspace) -> None:
    say(workspace, CARD, customer="anna")
    with pytest.raises(DataError, match="another customer's"):
        say(workspace, CARD, customer="bert")
    assert len(turns(workspace)) == 2


def test_the_list_shows_who_waits_first(either: Workspace) -> None:
    desk = either.get("services", "desk").desk
    say(either, HUMAN, conversation="waits")
    say(either, HUMAN, conversation="answered")
    say(either, CARD, conversation="newest")
    desk.answer("answered", "here I am")
    listed = desk.latest()
    assert [(one.row.id, one.waits) for one in listed] == [("waits", True), ("answered", False), ("newest", False)]
    assert [one.last.text for one in listed] == [HUMAN, "here I am", CARD]
    assert desk.counts() == {"person": 2, "bot": 1}
    assert [one.row.id for one in desk.latest(state="bot")] == ["newest"]


def test_eight_threads_on_one_conversation_leave_no_gap(either: Workspace) -> None:
    service = either.get("services", "desk")

    def customer(thread: int) -> None:
        for number in range(4):
            service.answer(Turn(id=f"{thread}/{number}", conversation="c1", text=CARD))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(customer, range(8)))
    said = turns(either)
    assert [turn.number for turn in said] == list(range(1, 65))
    assert all(a.request_id == b.request_id for a, b in zip(said[::2], said[1::2], strict=True)), "pairs stay together"


def test_a_killed_process_loses_nothing_that_it_acknowledged(open_desk: Callable[..., Workspace]) -> None:
    workspace = open_desk()
    folder = Path(workspace.config.folder)
    workspace.close()
    fork, chance = multiprocessing.get_context("fork"), random.Random(7)
    acknowledged: list[int] = []
    for _ in range(6):
        told, tell = fork.Pipe(duplex=False)
        process = fork.Process(target=small_desk.talk_for_ever, args=(folder, len(acknowledged), tell))
        process.start()
        tell.close()
        for _ in range(chance.randint(1, 6)):
            acknowledged.append(told.recv())
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.join(20)
        while told.poll():
            try:
                acknowledged.append(told.recv())
            except EOFError:
                break
    assert acknowledged == list(range(len(acknowledged)))
    with small_desk.open_desk(folder) as again:
        said = turns(again, "c")
    assert [turn.number for turn in said] == list(range(1, len(said) + 1))
    assert {f"r{number}" for number in acknowledged} <= {turn.request_id for turn in said}
    assert len({turn.request_id for turn in said}) * 2 == len(said), "each turn has one question and one reply"
