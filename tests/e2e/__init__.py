"""The reference scenarios with real processes: what is promised to each user, seen from outside."""
