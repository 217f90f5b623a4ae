"""What is shown with the test data beside the repository."""
