"""The running server: source, manager, scheduler, workers, memory."""
