"""Beyond one machine: the same models and settings on many servers.

`plan` says what every server of a fleet serves, and compares it with what runs. `export` writes it
as files for TensorFlow Serving, compose, Kubernetes, KServe and Ray. `ray` deploys it on a Ray
cluster; `balancer` sends requests to the servers there, and `remote` reaches them from a notebook
or a terminal.
"""

__all__ = ["plan", "export"]
