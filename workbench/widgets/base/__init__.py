"""The base of all widgets: `live` sends news to visible ones, `latest` answers only the last of
many questions, and `durable` leaves a picture that outlives the kernel.
"""

__all__ = ["live", "latest", "durable"]
