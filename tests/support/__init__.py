"""What tests share: real servers to talk to, and readers that follow the standards rather than our code."""
