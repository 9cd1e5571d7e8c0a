"""Protocol buffers on the wire.

`protobuf` reads and writes the wire format itself. `tensor_proto`, `tf_example` and
`predict_message` are messages that are too hot for generated code; `messages` declares all others
of TensorFlow Serving. `tfrecord` writes files of messages.
"""

__all__ = ["protobuf", "tensor_proto", "tf_example", "predict_message", "messages", "tfrecord"]
