"""What the Python library says of a vector, in the form in which the JavaScript module says it."""

from __future__ import annotations

import base64
from typing import Any

from integrator_audit import AuditError, Verifier
from integrator_audit.receiptcheck import check_receipt
from integrator_audit.witnessing.policy import Policy


def file_of(vector: dict[str, Any]) -> bytes:
    """Return the bytes of a vector's file."""
    data = base64.b64decode(vector["base64"]) if "base64" in vector else vector["file"].encode()
    return data + b" " * vector.get("spaces", 0)


def judge(vector: dict[str, Any]) -> dict[str, Any]:
    """Return `{"proves": …}` or `{"code": …}`."""
    try:
        verifier = Verifier.from_text(vector["vkey"])
        policy = Policy.parse(vector["policy"].encode()) if "policy" in vector else None
        found = check_receipt(file_of(vector), verifier, policy=policy, now=vector["now"]).opening
    except AuditError as error:
        return {"code": error.code}
    names = ("origin", "index", "size", "type", "parts")
    return {"proves": {name: getattr(found, name) for name in names}}
