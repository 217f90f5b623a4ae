"""Measurements of the whole line on a real Kafka: run by hand, never by the tests."""
