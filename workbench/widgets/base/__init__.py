"""What all widgets share: `live` brings news to those that are looked at, `latest` answers only the
last of many questions, and `durable` leaves a picture that outlives the kernel.
"""

__all__ = ["live", "latest", "durable"]
