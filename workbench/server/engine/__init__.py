"""Versions, batches and memory of one running server, without any interface.

`engine` puts the parts together. `versions` loads and unloads, `workers` are the processes that do
it, `trial` asks a version before it serves. `batching` collects requests and runs them, `memory`
reserves and measures, `telemetry` counts. `engine_load` creates load inside the process.
"""

__all__ = ["engine", "versions", "batching", "memory", "telemetry", "trial", "engine_load"]
