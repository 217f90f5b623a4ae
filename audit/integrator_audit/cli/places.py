"""Where a command finds a ledger or a vault: a file, a database by its URL, or a name in the environment's database.

- The environment variable `INTEGRATOR_AUDIT_DATABASE` holds a `postgresql://` URL, or the path of a file that does.
  Then a name such as `ledger_s0_2026h2`, which is no file, is that schema of it.
- No password is an argument, because everybody on a machine can read the arguments of its processes: one in an
  argument's URL is refused. It stands in the variable, the file, `~/.pgpass`, or there is none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.stores import holds_password, in_schema, is_url

VARIABLE: Final = "INTEGRATOR_AUDIT_DATABASE"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\Z")


def read_place(text: str) -> Path | str:
    """Return the path of a file or the URL of a database that an argument names.

    A URL from the environment may hold a password: show people the argument, never what this returns. Raises `Invalid`
    (`database-password`, `database-url`), `Unavailable` (`database-file`).
    """
    if is_url(text):
        if holds_password(text):
            message = (
                "a password in an argument can be read by everybody on this machine, so it was not used: put the URL "
                f"into a file, and name that in {VARIABLE}"
            )
            raise Invalid("database-password", message)
        return text
    given = os.environ.get(VARIABLE, "")
    if not given or not _NAME.match(text) or Path(text).exists():
        return Path(text)
    url = given if is_url(given) else _url_in(Path(given))
    return in_schema(url, text)


def need_file(place: Path | str, what: str) -> None:
    """Raise `Unavailable` (`no-such-file`) when a place is a file that is not there: nothing is to be made."""
    if isinstance(place, Path) and not place.is_file():
        raise Unavailable("no-such-file", f"there is no {what} {place}")


def _url_in(path: Path) -> str:
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        url = None
    if url is None:
        raise Unavailable("database-file", f"the file that {VARIABLE} names, {path}, cannot be read")
    if not is_url(url):
        # It may be a password: say nothing of it.
        raise Invalid("database-url", f"the file that {VARIABLE} names holds no postgresql:// URL")
    return url
