"""Protocol buffers on the wire.

`protobuf` reads and writes the wire format itself. `tensor_proto`, `tf_example` and
`predict_message` handle messages for which generated code is too slow; `messages` declares all
other messages of TensorFlow Serving. `tfrecord` writes files of messages.
"""

__all__ = ["protobuf", "tensor_proto", "tf_example", "predict_message", "messages", "tfrecord"]
