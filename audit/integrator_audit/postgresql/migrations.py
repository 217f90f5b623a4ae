"""Numbered migrations of a schema: applied in order by who opens for writing, under the lock of the writer.

- A migration is a file `sql/<family>_<number>.sql` of this package. Once released it never changes; the next number
  brings the schema further. Families are `ledger`, `vault` and `index`, one to a schema.
- Each is one transaction together with its row in the table `migration`.
- Reading never migrates, and a schema that a newer version made is refused by both.
- A table whose place something else has taken is read by neither: a view may have rows without end, or run for ever.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final, Literal

from psycopg import sql

from integrator_audit.errors import Refused, Tampered, Unavailable
from integrator_audit.postgresql.session import Session

Family = Literal["ledger", "vault", "index"]

_VERSIONS: Final = (
    "CREATE TABLE migration (number integer PRIMARY KEY, family text NOT NULL, "
    "applied timestamptz NOT NULL DEFAULT clock_timestamp())"
)

_NO_TABLES: Final = (
    "SELECT relname::text FROM pg_class c WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
    " AND (relkind IN ('p', 'v', 'm', 'f') OR EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhparent, inhrelid)))"
)
"""Names of what has rows in a schema and is not an ordinary table that stands alone."""


def scripts(family: Family) -> list[str]:
    """Return the migrations of a family, the first being number 1."""
    folder = resources.files("integrator_audit.postgresql") / "sql"
    names = sorted(item.name for item in folder.iterdir() if re.fullmatch(rf"{family}_\d+\.sql", item.name))
    if names != [f"{family}_{number:04}.sql" for number in range(1, len(names) + 1)]:
        raise Tampered("migrations", f"the package's migrations of the {family} are not numbered from 1 on: {names}")
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def migrate(session: Session, family: Family) -> None:
    """Bring a schema to the newest number, making it where it is absent. The caller holds the lock of the writer.

    Raises `Refused` (`…-format`, `…-newer`, `…-permission`), `Tampered` (`…-damaged`).
    """
    todo = scripts(family)
    done = _done(session, family)
    if done is None:
        if session.row("SELECT 1 FROM pg_namespace WHERE nspname = %s", (session.schema,)) is None:
            session.run(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(session.schema)))
        with session.transaction():
            session.run(_VERSIONS)
        done = 0
    for number, script in enumerate(todo[done:], done + 1):
        with session.transaction():
            session.script(script)
            session.run("INSERT INTO migration (number, family) VALUES (%s, %s)", (number, family))


def check_migrated(session: Session, family: Family) -> None:
    """See that a schema stands where this version can read it.

    Raises `Unavailable` (`…-absent`) when it was not made yet, `Refused` (`…-older`) when a writer of this version has
    to open it first, and as `migrate` does.
    """
    done, newest = _done(session, family), len(scripts(family))
    if done is None or done == 0:
        message = f"there is no {family} in the schema {session.schema} of {session.where}; start its writer"
        raise Unavailable(f"{family}-absent", message)
    if done < newest:
        message = (
            f"{session.schema} in {session.where} stands at migration {done} of {newest}; reading never migrates: "
            "open it once for writing with this version"
        )
        raise Refused(f"{family}-older", message)


def _done(session: Session, family: Family) -> int | None:
    """Return the newest number that was applied, None when the schema is absent or empty."""
    tables = {
        name
        for (name,) in session.rows(
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)",
            (session.schema,),
        )
    }
    if not tables:
        return None
    ours = {"migration", *re.findall(r"^CREATE TABLE (\w+)", "\n".join(scripts(family)), re.MULTILINE)}
    for (name,) in session.rows(_NO_TABLES, (session.schema,)):
        if name in ours:
            message = (
                f"{name} in {session.schema} of {session.where} is not the table that the {family} had: it is a view, "
                "has partitions, or shares its rows with another table. It is not read; look at who may change it"
            )
            raise Tampered(f"{family}-damaged", message)
    rows = session.rows("SELECT number, family FROM migration ORDER BY number") if "migration" in tables else []
    numbers, families = [row[0] for row in rows], {row[1] for row in rows}
    if "migration" not in tables or numbers != list(range(1, len(numbers) + 1)) or families - {family}:
        message = f"{session.schema} in {session.where} is not the schema of a {family}; name another schema"
        raise Refused(f"{family}-format", message)
    if len(numbers) > len(scripts(family)):
        message = (
            f"{session.schema} in {session.where} stands at migration {len(numbers)}, which a newer version of "
            "integrator-audit made; use that version"
        )
        raise Refused(f"{family}-newer", message)
    return len(numbers)
