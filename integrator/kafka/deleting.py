"""Deletes records of a topic before given positions (Kafka's DeleteRecords).

Readers cannot have them from then on. Their bytes leave the disk with their segment, which goes, within the broker's
retention check, once another one follows it. A setting of the topic rolls segments by time.
"""

# pyright: reportPrivateImportUsage=false
# Reason: confluent-kafka documents these names in `confluent_kafka.admin`, but its types do not export them.

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import TopicPartition
from confluent_kafka.admin import DeletedRecords

from integrator.domain.errors import Refused
from integrator.kafka.admin import REQUEST_SECONDS, administering, answers
from integrator.kafka.connection import Connection


async def delete_before(connection: Connection, positions: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Delete the records before these positions; return the first position that each partition has then.

    What is deleted already is no error, and so this can be repeated. Needs a user that may delete. Raises `Refused`
    (`kafka-position-gone`) for a position beyond the end, `kafka-not-authorised`, `kafka-no-topic`.
    """
    if any(position < 0 for position in positions.values()):
        # SPEC Kafka protocol, DeleteRecords: -1 is the end of the partition. Nobody here means that.
        raise Refused("kafka-position", "A position before which to delete is not negative.")
    if not positions:
        return {}
    places = [TopicPartition(topic, partition, position) for (topic, partition), position in positions.items()]
    async with administering(connection) as admin:
        asked = admin.delete_records(places, request_timeout=REQUEST_SECONDS, operation_timeout=REQUEST_SECONDS)
        by_place = {(place.topic, place.partition): future for place, future in asked.items()}
        found: dict[tuple[str, int], DeletedRecords] = await answers("Deleting records", by_place)
    return {place: deleted.low_watermark for place, deleted in found.items()}
