"""Whether each output row of a signature depends on its own input row alone, read off its graph.

Requests may share a batch only where that is so: else the numbers of one caller change those of
another. The graph is evaluated on *abstract values*: not numbers, but what a tensor is made of.

`dimensions` counts what is not known yet (the rows of the batch, the length of a text) with
symbols. `values` says what a tensor may be made of: nothing of the request, each row of it, or all
rows together. `rules` has one rule for each operation that keeps rows apart. `walk` follows the
graph from a signature's outputs to its inputs, through functions, conditions and loops.
`reach` finds what computing a signature touches besides its answer. `facts` puts it all together.

An operation without a rule is never believed to keep rows apart.
"""

from workbench.server.worker.rows.facts import signature_facts

__all__ = ["signature_facts"]
