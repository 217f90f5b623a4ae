"""What the integrator decides, without Kafka, HTTP, files or a clock."""
