"""What a disclosure says in the ledger."""
