"""The parts that run inside Jupyter.

`serving_kernel` is a kernel that supervises a server. `server_extension` adds the routes that
JupyterLab calls to the Jupyter Server. `typescript` writes the lists and types that
the browser shares with Python.
"""

__all__ = ["serving_kernel", "server_extension"]
