"""The HTTP/1.1 server of the data plane.

`listener` accepts connections. A `connection` keeps the order of answers; its `request_reader`
parses requests and bounds what one client costs (`client_limits`), and `framing` checks what the
parser does not. `message` is a request and its reply, and `body` holds the bytes of either.
"""

__all__ = ["listener", "message", "body", "client_limits"]
