"""Text, serialised examples, and rows of different lengths."""

from __future__ import annotations

import itertools

from workbench.server.worker.rows.dimensions import ROWS, Dimension, unknown
from workbench.server.worker.rows.rules.rule_book import known, need, row_shape, rule
from workbench.server.worker.rows.values import Kind, Value, free, rows, vector
from workbench.server.worker.rows.walk import Operation

# A function may be called for one text and then for another.
_calls = itertools.count(1)
_LONGEST = "it pads each row to the length of the longest row of the batch"


@rule("StringSplitV2")
def split_text(operation: Operation) -> list[Value]:
    """The words of each row, laid one row after the other."""
    given, separator = operation.inputs
    why = "its input is not one text for each row"
    shape = row_shape(given, why)
    need(len(shape) == 1 and separator.is_free, why)
    source = f"{operation.node.name} {next(_calls)}"
    return [
        Value(Kind.COORDINATES, operation.shape(0), source=source),
        Value(Kind.FLAT, operation.shape(1), source=source),
        # How many words the longest row has depends on all rows.
        vector([shape[0], None], Kind.SIZED),
    ]


@rule("RaggedTensorToTensor")
def ragged_to_tensor(operation: Operation) -> Value:
    """Rows stay apart where all are padded or cut to one fixed length."""
    wanted, values, default, *partitions = operation.inputs
    need(
        values.kind is Kind.FLAT and default.is_free,
        "it is not known to keep rows of different lengths apart",
    )
    kinds = [partition.kind for partition in partitions]
    by_rows = partitions[0].content == (ROWS,) and kinds[1:] == [Kind.ROW_IDS]
    need(
        (by_rows or kinds == [Kind.SPLITS]) and partitions[-1].source == values.source,
        "its elements do not belong to its rows",
    )
    why = "the length of its rows is not known"
    sizes = known(wanted.whole_numbers, why)
    need(len(sizes) > 1, why)
    if sizes[1] < 0:
        return operation.mixes(_LONGEST)
    if sizes[0] >= 0:
        return operation.mixes("it pads the batch")
    rest = tuple(unknown() if size < 0 else Dimension(size) for size in sizes[2:])
    return rows((ROWS, Dimension(sizes[1]), *rest), 0)


@rule("DecodeRaw DecodePaddedRaw")
def decode_raw(operation: Operation) -> Value:
    """All strings must be of one length: a batch in which they are not is refused as a whole."""
    given, *others = operation.inputs
    shape = row_shape(given)
    need(all(v.is_free for v in others), "its width depends on the request")
    last = operation.saved(-1) or unknown()
    return operation.rows(given.axis, (*shape, last))


@rule("ParseExampleV2 ParseExample")
def parse_examples(operation: Operation) -> list[Value]:
    """One example a row. Dense features of a fixed length stay apart; others are not followed."""
    examples, *others = operation.inputs
    why = "its input is not one example for each row"
    given = row_shape(examples, why)
    need(len(given) == 1 and all(v.is_free for v in others), why)
    shapes = operation.attribute("dense_shapes", [])
    sparse = operation.attribute(
        "num_sparse" if operation.name == "ParseExampleV2" else "Nsparse", 0
    )
    results = [operation.unproven("it returns sparse features")] * operation.outputs()
    for at in range(len(operation.node.attr["Tdense"].list.type)):
        sizes = [d.size for d in shapes[at].dim] if at < len(shapes) else [-1]
        if any(size < 0 for size in sizes):
            results[3 * sparse + at] = operation.mixes(_LONGEST)
        else:
            results[3 * sparse + at] = rows((given[0], *map(Dimension, sizes)), 0)
    return results


@rule("Assert Print PrintV2 NoOp", tolerant=True)
def nothing(operation: Operation) -> Value:
    """A check of the whole batch: where it fails, its requests are run one by one."""
    return operation.inputs[0] if operation.inputs else free()
