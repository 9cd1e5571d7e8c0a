"""The child process that owns one loaded version; the only importer of TensorFlow."""
