"""Beyond one machine: the same models and settings on many servers.

`plan` says what every server of a fleet serves, and compares it with what runs. `export` writes it
as files for TensorFlow Serving, compose, Kubernetes, KServe and Ray. `fleet` deploys it on a Ray
cluster and changes it there, and `display` shows it. `ray` has the parts that run on the cluster,
each with a server of `node` or a `balancer`; `remote` reaches them from a notebook or a terminal.
`local_nodes` starts a cluster on one machine, and `programs` ends what is not ours.
"""

__all__ = [
    "plan",
    "export",
    "fleet",
    "display",
    "ray",
    "node",
    "balancer",
    "remote",
    "local_nodes",
    "programs",
]
