"""How a server reads in a cell, in a terminal and in JupyterLab.

A `version_view` is plain data, and `views` are all of a model (`versions_table` is their HTML).
`tables` makes data frames, `memory_tables` those of the ledger. The server `card` is HTML,
`card_text` the same for a terminal; `whole_server` asks a server and draws its card. `orders` are
the changes that a view may ask a server for, `pulse` asks for news, and `exact_numbers` keeps whole
numbers exact in JavaScript.
"""

__all__ = [
    "version_view",
    "views",
    "versions_table",
    "tables",
    "memory_tables",
    "card",
    "card_text",
    "whole_server",
    "orders",
    "pulse",
    "exact_numbers",
]
