"""From a request's tensors to a batch that ran.

A request is one of `tasks`, and `outstanding` until it is answered. It waits in a queue that takes
`turns`, and `runs` runs its batch, whose tensors `joining` puts side by side. The `scheduler` puts
these together. `isolation` runs requests alone after a crash, `digests` recognises their inputs,
and `batch_records` keeps what each batch cost.
"""

__all__ = ["tasks", "scheduler", "batch_records", "digests"]
