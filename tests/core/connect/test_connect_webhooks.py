"""Signed webhooks: the vector of the specification, and a table of what must not pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mercat.connect import sign_webhook, verify_webhook
from mercat.errors import AccessError, ConfigError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_b3RoZXIgc2VjcmV0IG9mIG1pbmU="
AT = datetime.fromtimestamp(1614265330, tz=UTC)
BODY = b'{"test": 2432232314}'
HEADERS = sign_webhook(BODY, id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=AT, secret=SECRET)


def test_the_published_vector() -> None:
    assert HEADERS["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert verify_webhook(BODY, HEADERS, secrets=[SECRET], now=AT) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize("order", [[SECRET, OTHER], [OTHER, SECRET]])
def test_both_keys_pass_while_one_is_changed(order: list[str]) -> None:
    assert verify_webhook(BODY, HEADERS, secrets=order, now=AT)
    renewed = sign_webhook(BODY, id="m", at=AT, secret=OTHER)
    both = renewed | {"webhook-signature": "v1,AAAA v2,BBBB " + renewed["webhook-signature"]}
    assert verify_webhook(BODY, {k.upper(): v for k, v in both.items()}, secrets=order, now=AT) == "m"


BAD = {
    "signature": HEADERS | {"webhook-signature": "v1,AAAA"},
    "no version": HEADERS | {"webhook-signature": HEADERS["webhook-signature"][3:]},
    "not ascii": HEADERS | {"webhook-signature": "v1,ä"},
    "empty": HEADERS | {"webhook-signature": ""},
    "other id": HEADERS | {"webhook-id": "msg_2"},
    "no id": {k: v for k, v in HEADERS.items() if k != "webhook-id"},
    "no time": {k: v for k, v in HEADERS.items() if k != "webhook-timestamp"},
    "no signature": {k: v for k, v in HEADERS.items() if k != "webhook-signature"},
    "other time": HEADERS | {"webhook-timestamp": str(int(AT.timestamp()) + 1)},
    "time is no number": HEADERS | {"webhook-timestamp": "1e9"},
    "endless time": HEADERS | {"webhook-timestamp": "9" * 400},
    "other digits": HEADERS | {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
    "nothing": {},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_headers_are_refused(name: str) -> None:
    with pytest.raises(AccessError):
        verify_webhook(BODY, BAD[name], secrets=[SECRET], now=AT)


@pytest.mark.parametrize("away_s", [-301, 301, 100_000])
def test_old_and_future_times_are_refused(away_s: int) -> None:
    with pytest.raises(AccessError, match="away from now"):
        verify_webhook(BODY, HEADERS, secrets=[SECRET], now=AT + timedelta(seconds=away_s))
    assert verify_webhook(BODY, HEADERS, secrets=[SECRET], now=AT + timedelta(seconds=299))


def test_a_changed_body_or_key_is_refused() -> None:
    for position in range(len(BODY)):
        changed = bytearray(BODY)
        changed[position] ^= 1
        with pytest.raises(AccessError):
            verify_webhook(bytes(changed), HEADERS, secrets=[SECRET], now=AT)
    with pytest.raises(AccessError):
        verify_webhook(BODY, HEADERS, secrets=[OTHER], now=AT)
    with pytest.raises(AccessError):
        verify_webhook(BODY, HEADERS, secrets=[], now=AT)
    with pytest.raises(ConfigError, match="not base64"):
        verify_webhook(BODY, HEADERS, secrets=["plain text"], now=AT)
