"""How single requests become the large batches that hardware likes.

`parameters` has TensorFlow Serving's settings. `merging` decides whether requests of a signature
may share a batch at all. `queue` collects requests and decides when a batch is closed; `slots`
decides which queue runs next where several share executors.
"""

__all__ = ["parameters", "merging", "queue", "slots"]
