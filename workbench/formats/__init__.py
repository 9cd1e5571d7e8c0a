"""File and wire formats that TensorFlow and TensorFlow Serving define.

The smallest come first: `dtypes`, and `protobuf`, which reads and writes the wire format.
`tensor_proto`, `tf_example` and `predict_message` build on them; `messages` declares TensorFlow
Serving's messages, and `config_files` reads its configuration. `http_status` maps error codes to
HTTP, `signature_checks` compares a request with a signature.

Of files: `saved_model_file` and `checkpoint_index` say which files a version needs, `lack` which of
them are missing, `damage` what is wrong with one. `version_record` is the file that this project
adds to a version.
"""

__all__ = [
    "dtypes",
    "protobuf",
    "tensor_proto",
    "tf_example",
    "messages",
    "predict_message",
    "config_files",
    "http_status",
    "signature_checks",
    "saved_model_file",
    "checkpoint_index",
    "lack",
    "damage",
    "version_record",
]
