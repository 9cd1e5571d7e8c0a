"""From a request's tensors to a batch that ran.

A request is one of `tasks`. The `scheduler` puts it into a queue and runs batches; `joining` puts
tensors side by side and takes the answers apart. `isolation` runs requests alone after a crash,
`digests` recognises their inputs, and `batch_records` keeps what each batch cost.
"""

__all__ = ["tasks", "scheduler", "batch_records", "digests"]
