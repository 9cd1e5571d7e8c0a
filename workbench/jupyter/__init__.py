"""Inside Jupyter: `serving_kernel` is a kernel that supervises a server, `server_extension` the
routes that JupyterLab asks, and `typescript` writes what the browser has of Python's lists and
types.
"""

__all__ = ["serving_kernel", "server_extension"]
