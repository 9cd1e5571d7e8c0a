"""A server as people see it.

`views` are plain objects, `tables` data frames, `memory_tables` those of the ledger. The server
`card` is HTML, `card_text` the same for a terminal. `orders` are what a view may ask a server to
do, `pulse` asks for news, and `exact_numbers` keeps whole numbers exact in JavaScript.
"""

__all__ = [
    "views",
    "tables",
    "memory_tables",
    "card",
    "card_text",
    "orders",
    "pulse",
    "exact_numbers",
]
