"""Finding, starting and ending processes, and passing tensors between them."""
