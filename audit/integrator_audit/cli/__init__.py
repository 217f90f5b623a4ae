"""The command `integrator-audit`, one module per group of commands."""
