"""The REST API.

`routes` reads a URL, and `rest` has the table of actions. An action is in `predict`, `examples`
(classify and regress) or `questions` (everything that runs no model). `rest_front` is what they
share, and `counted_reply` the reply that they send.
"""

__all__ = ["rest"]
