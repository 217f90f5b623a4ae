"""Settings, secrets, telemetry and processes."""
