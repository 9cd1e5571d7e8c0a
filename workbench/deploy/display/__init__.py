"""A fleet now, for a person.

`fleet_state` asks the head, the balancers and the servers, and says which of them do not answer;
`fleet_card` writes that as HTML for a cell, `fleet_card_text` as text for a terminal.
"""

__all__ = ["fleet_state", "fleet_card", "fleet_card_text"]
