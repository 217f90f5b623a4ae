"""What a monitor tells a metrics system: Prometheus' text format, over HTTP."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast

METRICS: Final = {
    "integrator_audit_monitor_size": ("gauge", "Entries of the last accepted checkpoint."),
    "integrator_audit_monitor_quorum": ("gauge", "1 when what is demanded of witnesses is met, else 0."),
    "integrator_audit_monitor_quorum_timestamp_seconds": ("gauge", "As of when a quorum had cosigned, 0 without one."),
    "integrator_audit_monitor_stale": ("gauge", "1 while the log shows a smaller checkpoint than before."),
    "integrator_audit_monitor_misbehaved": (
        "gauge",
        "1 when the log broke its word: see the evidence, call somebody.",
    ),
    "integrator_audit_monitor_last_verified_timestamp_seconds": ("gauge", "When a look last verified, 0 if none did."),
    "integrator_audit_monitor_looks_total": ("counter", "Looks at the log."),
    "integrator_audit_monitor_failed_looks_total": ("counter", "Looks that could not tell."),
    "integrator_audit_monitor_entries_read_total": ("counter", "Entries that were read and compared with the root."),
}
"""Names of metrics without the prefix's origin label, their types and meanings."""

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "integrator_audit_monitor_"


class Metrics:
    """The values of one monitor. Safe to use from several threads."""

    def __init__(self, origin: str) -> None:
        self._origin = origin.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self._lock = threading.Lock()
        self._values = dict.fromkeys(METRICS, 0.0)

    def set(self, **values: float) -> None:
        """Set gauges, named without the common prefix."""
        with self._lock:
            for name, value in values.items():
                self._values[self._known(name)] = value

    def add(self, **values: float) -> None:
        """Add to counters, named without the common prefix."""
        with self._lock:
            for name, value in values.items():
                self._values[self._known(name)] += value

    def text(self) -> str:
        """Return all values as Prometheus reads them."""
        with self._lock:
            values = self._values.copy()
        lines: list[str] = []
        for name, (kind, meaning) in METRICS.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines.append(f'{name}{{origin="{self._origin}"}} {values[name]:.15g}')
        return "\n".join([*lines, ""])

    def _known(self, name: str) -> str:
        full = _PREFIX + name
        if full not in METRICS:
            raise KeyError(full)
        return full


class MetricsServer(ThreadingHTTPServer):
    """Serve `GET /metrics`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], metrics: Metrics) -> None:
        """Listen on `address`; port 0 takes a free one, which `server_port` then says."""
        self.metrics = metrics
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server_version = "integrator-audit"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the values."""
        found = self.path == "/metrics"
        body = cast(MetricsServer, self.server).metrics.text().encode() if found else b"there is only /metrics here\n"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", _TYPE if found else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Say nothing for each request."""
        del format, args
