"""File and wire formats that TensorFlow and TensorFlow Serving define; each has its one owner here.

`dtypes` has the table of dtypes. `wire` reads and writes messages, `saved_model` the files of a
version, and `config_files` TensorFlow Serving's configuration. `http_status` maps error codes to
HTTP, and `signature_checks` compares a request with a signature.
"""

__all__ = ["dtypes", "wire", "saved_model", "config_files", "http_status", "signature_checks"]
