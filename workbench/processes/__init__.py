"""Starting, finding, watching and ending the processes of a server.

`server_options` declares every option that a server is started with. `paths` says where a server
keeps its files, `registry` lists the running servers. A `launcher` starts a server: as a
subprocess, as a Jupyter kernel (`jupyter_launcher`), or through `jupyter_client`
(`kernel_launcher`). `lifetime` ends processes with their owner, `limits` bounds their memory,
`descriptors` their open files. `hosts` lists the names that a server answers to, `tokens` checks
the token that its callers carry. A `lease` lets one process at a time use a server for an
experiment.
"""

__all__ = [
    "server_options",
    "paths",
    "registry",
    "launcher",
    "jupyter_launcher",
    "kernel_launcher",
    "lifetime",
    "limits",
    "descriptors",
    "hosts",
    "tokens",
    "lease",
]
