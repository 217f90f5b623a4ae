"""Lets `python -m integrator_audit` be the command `integrator-audit`."""

from integrator_audit.cli.main import main

if __name__ == "__main__":
    main()
