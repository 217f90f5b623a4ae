"""The data plane: from a source's record to the agencies' topics."""
