"""Inside Jupyter: `serving_kernel` is a kernel that supervises a server, `server_extension` the
routes that JupyterLab asks.
"""

__all__ = ["serving_kernel", "server_extension"]
