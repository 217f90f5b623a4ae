"""The integrator: sources publish a change once, agencies receive the part that a law lets them have."""
