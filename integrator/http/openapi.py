"""Makes the OpenAPI document of the API without an installation: `python -m integrator.http.openapi` prints it.

The committed copy is `schemas/openapi/integrator-v1.json`; a test holds the two equal.
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from integrator.http import audit, disclosures, histories
from integrator.http.app import Ports, create_api, document


def integrator_document() -> dict[str, Any]:
    """Return the document of the whole API."""
    nothing = cast("Any", None)  # routes are described here and never called
    ports = Ports(
        directories=nothing,
        writer=nothing,
        identities=nothing,
        refusals=nothing,
        watch=nothing,
        profile="production",
        installation="integrator",
        v1=[
            disclosures.router(nothing, nothing, cursor_key=b""),
            audit.router(nothing, nothing, cursor_key=b""),
            histories.router(nothing, nothing, nothing),
        ],
    )
    return document(create_api(ports))


def as_text(document: dict[str, Any]) -> str:
    """Return the document as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text(integrator_document()))
