"""What others see: HTTP and REST, gRPC, metrics, the control plane."""
