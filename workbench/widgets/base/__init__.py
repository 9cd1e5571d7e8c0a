"""What all widgets share: `live` brings news to those that are looked at, `latest` answers only the
last of many questions, `durable` leaves a picture that outlives the kernel, `colours` are those of
versions.
"""

__all__ = ["live", "latest", "durable", "colours"]
