"""Manifests for clusters: plain Kubernetes, KServe, and Ray on Kubernetes (KubeRay).

`pod` has what all of them share: the container of a server, its user, its resources and probes.
`kubernetes`, `kserve` and `ray_service` make the files.
"""

__all__ = ["kubernetes", "kserve", "ray_service"]
