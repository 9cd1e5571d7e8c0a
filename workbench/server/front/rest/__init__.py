"""The REST API: `routes` reads a URL, `rest` turns a request into a task and its outputs into an
answer.
"""

__all__ = ["rest"]
