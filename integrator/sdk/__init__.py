"""What users import: the registry owner, the agency, the citizen, and what passes between them and the integrator."""

from integrator.kafka.connection import Connection
from integrator.sdk.agency import Agency
from integrator.sdk.citizen import Citizen
from integrator.sdk.delivered import Delivered
from integrator.sdk.message import SourceMessage, message_id
from integrator.sdk.owner import Published, RegistryOwner, Tally
from integrator.sdk.receipts import Receipt

__all__ = [
    "Agency",
    "Citizen",
    "Connection",
    "Delivered",
    "Published",
    "Receipt",
    "RegistryOwner",
    "SourceMessage",
    "Tally",
    "message_id",
]
