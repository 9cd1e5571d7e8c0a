"""What the serving path is compared with: a bare echo, and a plain tornado server.

    python -m benchmarks.peers echo
    python -m benchmarks.peers tornado SAVED_MODEL

Each prints its port and serves on loopback until its standard input closes.
"""

from __future__ import annotations

import asyncio
import sys
import threading

import httptools


class Echo(asyncio.Protocol):
    """Answers every POST with its own body; the least that HTTP/1.1 on uvloop can cost."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


async def echo() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def tornado_server(path: str) -> None:
    """One process, one handler, one call of the model's signature a request: what a tutorial
    shows."""
    import json

    import numpy as np
    import tensorflow as tf
    import tornado.httpserver
    import tornado.netutil
    import tornado.web

    model = tf.saved_model.load(path)
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    class Predict(tornado.web.RequestHandler):
        def post(self) -> None:
            instances = np.asarray(json.loads(self.request.body)["instances"], np.float32)
            outputs = signature(**{name: tf.constant(instances)})
            (output,) = outputs.values()
            self.write({"predictions": output.numpy().tolist()})

    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    application = tornado.web.Application([(".*", Predict)], log_function=lambda handler: None)
    tornado.httpserver.HTTPServer(application).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    def end_with_stdin() -> None:
        import os

        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_stdin, daemon=True).start()
    if sys.argv[1] == "echo":
        import uvloop

        uvloop.run(echo())
    else:
        asyncio.run(tornado_server(sys.argv[2]))


if __name__ == "__main__":
    main()
