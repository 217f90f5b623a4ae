"""Where a log lies in PostgreSQL: a URL, a schema, and what may be said of both in a message.

- A URL is `postgresql://[user[:password]@]host[:port]/database[?parameter=value&…]`, with every parameter of libpq and
  one of ours: `schema`, the log among those of the database.
- A password never leaves this module but to the driver: `label` names host and database only, `repr` shows the label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from integrator_audit.errors import Invalid
from integrator_audit.stores import check_schema, is_url

# Where a password with an "@" or "/" was not encoded, its end shows up as host or database: such names are not shown.
_HOST: Final = re.compile(r"[A-Za-z0-9._:/\[\],-]{1,200}\Z")
_DATABASE: Final = re.compile(r"[A-Za-z0-9._-]{0,63}\Z")
# A writer or server that vanishes without a word is noticed within a minute or so; what the URL says wins.
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "client_encoding": "UTF8",
    "application_name": "integrator-audit",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A database, and the schema in it where one was named. `conninfo` holds the password: never print it."""

    label: str
    schema: str | None
    conninfo: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart.

        Raises `Invalid` (`database-url`), never repeating what was given: a URL may hold a password.
        """
        schemas: list[str] = []
        try:
            base, _, query = url.partition("?")
            # The rest goes to the driver to the letter: "+" is no space there.
            given = query.split("&") if query else []
            schemas = [item.partition("=")[2] for item in given if item.startswith("schema=")]
            rest = "&".join(item for item in given if not item.startswith("schema="))
            values = conninfo_to_dict(f"{base}?{rest}")
            readable = is_url(url) and len(schemas) <= 1
        except (ValueError, psycopg.ProgrammingError):
            readable, values = False, {}
        # Outside of the handler: the driver's own message repeats the URL, and would be chained to ours.
        if not readable:
            message = "a database is given as postgresql://user@host/database?schema=…; this is no such URL"
            raise Invalid("database-url", message)
        schema = check_schema(schemas[0]) if schemas else None
        label = _label(str(values.get("host") or "localhost"), str(values.get("dbname") or values.get("user") or ""))
        return cls(label, schema, make_conninfo("", **(_DEFAULTS | values)))


def _label(host: str, database: str) -> str:
    if not (_HOST.match(host) and _DATABASE.match(database)):
        return "the database"
    return f"{database} on {host}" if database else host
