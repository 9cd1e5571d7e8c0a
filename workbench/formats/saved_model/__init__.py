"""The files of a version, read without TensorFlow.

`saved_model_file` and `checkpoint_index` say which files a version needs, `lack` which of them are
missing, `damage` what is wrong with one. `signature_file` reads its signatures. `version_record` is
the file that this project adds.
"""

__all__ = [
    "saved_model_file",
    "checkpoint_index",
    "lack",
    "damage",
    "signature_file",
    "version_record",
]
