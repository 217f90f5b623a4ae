"""A verifiable ledger after C2SP tlog-tiles: committed entries that open in parts, can be checked and can forget."""

from integrator_audit.errors import AuditError, Busy, Invalid, Refused, Tampered, Unavailable
from integrator_audit.ledger import Ledger
from integrator_audit.ledgerwriter import Appended, LedgerWriter
from integrator_audit.note import Signer, Verifier
from integrator_audit.opening import VerifiedOpening, verify_opening
from integrator_audit.parts import Entry, part, read_part
from integrator_audit.rawlog import RawLog
from integrator_audit.reader import LedgerReader, Resource
from integrator_audit.store import Erasure, Head, SetAside
from integrator_audit.vault import Vault

__all__ = [
    "Appended",
    "AuditError",
    "Busy",
    "Entry",
    "Erasure",
    "Head",
    "Invalid",
    "Ledger",
    "LedgerReader",
    "LedgerWriter",
    "RawLog",
    "Refused",
    "Resource",
    "SetAside",
    "Signer",
    "Tampered",
    "Unavailable",
    "Vault",
    "VerifiedOpening",
    "Verifier",
    "part",
    "read_part",
    "verify_opening",
]
