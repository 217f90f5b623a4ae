"""The reference directory: who may receive what about whom, in one order."""
