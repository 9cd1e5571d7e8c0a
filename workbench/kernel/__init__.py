"""The supervisor and the server process that it keeps alive."""
