"""The HTTP/1.1 server of the data plane.

`listener` accepts connections. A `connection` parses requests, keeps their order and bounds what
one client costs (`client_limits`); `framing` checks what the parser does not. `message` is a
request and its reply, `body` where the bytes of either lie.
"""

__all__ = ["listener", "message", "body", "client_limits"]
