"""Translates what Kafka's clients raise into the five families of errors: the one table of this boundary.

Both clients number their errors as the protocol does; librdkafka adds negative numbers for what happens on this side.
The numbers are those of Kafka's protocol guide ("Error Codes") and of librdkafka's `rd_kafka_resp_err_t`.
"""

# pyright: reportMissingTypeStubs=false
# Reason: aiokafka ships no type information.

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from aiokafka.errors import (
    AuthenticationFailedError,
    ConsumerStoppedError,
    IllegalOperation,
    KafkaConfigurationError,
    KafkaError,
    ProducerFenced,
    RecordTooLargeError,
    UnsupportedCodecError,
)
from confluent_kafka import KafkaException

from integrator.domain.errors import IntegratorError, Invalid, Refused, Unavailable

Make = Callable[[str], IntegratorError]


def _refused(code: str, text: str) -> Make:
    return lambda doing: Refused(code, f"{doing}: {text}")


def _unavailable(code: str, text: str) -> Make:
    return lambda doing: Unavailable(code, f"{doing}: {text}")


_PASSWORD = _refused("kafka-wrong-password", "the broker does not accept this user and password.")
_NOT_AUTHORISED = _refused(
    "kafka-not-authorised", "the broker does not allow it to this user; `integrator topics plan` shows what is missing."
)
_FENCED = _refused("kafka-fenced", "another process has taken over; this one must stop or start anew.")
_NO_TOPIC = _refused(
    "kafka-no-topic", "there is no such topic, or this user may not see it: `integrator topics apply`."
)
_UNREACHABLE = _unavailable("kafka-unreachable", "Kafka does not answer: is it running, and is the address right?")
_SETTINGS = _refused("kafka-settings", "the broker refuses a setting of this client or topic.")

_BY_CODE: Final[dict[int, Make]] = {
    -195: _UNREACHABLE,  # _TRANSPORT
    -193: _UNREACHABLE,  # _RESOLVE
    -187: _UNREACHABLE,  # _ALL_BROKERS_DOWN
    -185: _UNREACHABLE,  # _TIMED_OUT
    -192: _UNREACHABLE,  # _MSG_TIMED_OUT
    -169: _PASSWORD,  # _AUTHENTICATION
    -144: _FENCED,  # _FENCED
    1: _refused("kafka-position-gone", "the topic has no such position: was the cluster restored?"),
    3: _NO_TOPIC,
    10: lambda doing: Invalid("kafka-too-large", f"{doing}: the record is larger than the topic takes."),
    17: _refused("kafka-topic-name", "the broker does not take such a name."),
    18: lambda doing: Invalid("kafka-too-large", f"{doing}: the batch is larger than the topic takes."),
    29: _NOT_AUTHORISED,
    30: _NOT_AUTHORISED,
    31: _NOT_AUTHORISED,
    33: _refused("kafka-wrong-mechanism", "the broker does not take this way of logging in."),
    34: _refused("kafka-wrong-mechanism", "the broker does not take this way of logging in."),
    36: _refused("kafka-topic-exists", "there is already such a topic."),
    37: _SETTINGS,
    38: _refused("kafka-too-few-brokers", "there are fewer brokers than copies of each record asked for."),
    40: _SETTINGS,
    44: _SETTINGS,
    47: _FENCED,  # INVALID_PRODUCER_EPOCH
    50: _refused("kafka-settings", "the transaction time-out is above the broker's transaction.max.timeout.ms."),
    53: _NOT_AUTHORISED,
    58: _PASSWORD,
    90: _FENCED,
    91: _refused("kafka-no-user", "there is no such user."),
}
_BY_TYPE: Final[tuple[tuple[type[BaseException], Make], ...]] = (
    (AuthenticationFailedError, _PASSWORD),
    (ProducerFenced, _FENCED),
    (IllegalOperation, _FENCED),  # between two batches aiokafka shows a fenced producer so
    (RecordTooLargeError, _BY_CODE[10]),
    (UnsupportedCodecError, _SETTINGS),
    (KafkaConfigurationError, _SETTINGS),
)

FOREIGN: Final = (KafkaError, KafkaException, IllegalOperation, ConsumerStoppedError, OSError, TimeoutError)
"""What the two clients raise; `IllegalOperation` and `ConsumerStoppedError` are no `KafkaError`."""


def code_of(error: BaseException) -> int | None:
    """Return the number of a Kafka error of either client, or `None` when it has none."""
    if isinstance(error, KafkaException) and error.args:
        code: object = getattr(error.args[0], "code", lambda: None)()
    else:
        code = getattr(error, "errno", None) if not isinstance(error, OSError) else None
    return code if isinstance(code, int) else None


def translate(error: BaseException, doing: str) -> IntegratorError:
    """Return the error to raise instead of `error`; `doing` says what was tried, without personal data.

    What is not in the table is `Unavailable`: whether it happened is not known.
    """
    if isinstance(error, IntegratorError):
        return error
    code = code_of(error)
    if code is not None and (make := _BY_CODE.get(code)) is not None:
        return make(doing)
    for kind, make in _BY_TYPE:
        if isinstance(error, kind):
            return make(doing)
    if code is None:
        return _UNREACHABLE(doing)
    return Unavailable("kafka-error", f"{doing}: Kafka says {type(error).__name__} (number {code}); try again.")


@contextmanager
def translated(doing: str) -> Generator[None]:
    """Raise what Kafka's clients raise inside as errors of the five families; other exceptions are bugs and pass."""
    try:
        yield
    except FOREIGN as error:
        raise translate(error, doing) from error
