"""Text, serialised examples, and rows of different lengths."""

from __future__ import annotations

import itertools

from workbench.server.worker.rows.dimensions import ROWS, Dimension, unknown
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Value, free, numbers, rows
from workbench.server.worker.rows.walk import Operation

# A function may be called for one text and then for another.
_calls = itertools.count(1)
_LONGEST = "it pads each row to the longest of the batch"


@rule("StringSplitV2")
def split_text(operation: Operation) -> list[Value]:
    """The words of each row, laid one row after the other."""
    given, separator = operation.inputs
    one_row = given.kind is Kind.ROWS and given.shape is not None and len(given.shape) == 1
    if not one_row or not separator.is_free or given.shape is None:
        return [operation.unproven("it splits text that is not one for each row")] * 3
    source = f"{operation.node.name} {next(_calls)}"
    # How many words the longest row has depends on all rows.
    longest = [given.shape[0], None]
    return [
        Value(Kind.COORDINATES, operation.shape(0), source=source),
        Value(Kind.FLAT, operation.shape(1), source=source),
        numbers(longest, (Dimension(2),), Kind.SIZED),
    ]


@rule("RaggedTensorToTensor")
def ragged_to_tensor(operation: Operation) -> Value:
    """Rows apart where all are padded or cut to one fixed length."""
    wanted, values, default, *partitions = operation.inputs
    if values.kind is not Kind.FLAT or not default.is_free:
        return operation.unproven("it is not known to keep rows of different lengths apart")
    by_splits = [p.kind for p in partitions] == [Kind.SPLITS]
    by_rows = len(partitions) == 2 and partitions[0].content == (ROWS,)
    by_rows = by_rows and partitions[1].kind is Kind.ROW_IDS
    if not (by_splits or by_rows) or partitions[-1].source != values.source:
        return operation.unproven("its rows are not those of its elements")
    sizes = wanted.whole_numbers
    if sizes is None or len(sizes) < 2:
        return operation.unproven("the length of its rows is not known")
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
    if given.kind is not Kind.ROWS or given.shape is None or not all(v.is_free for v in others):
        return operation.unproven("the shape of its input is not known")
    declared = operation.declared()
    last = unknown() if declared is None or declared[-1] < 0 else Dimension(declared[-1])
    return operation.rows(given.axis, (*given.shape, last))


@rule("ParseExampleV2 ParseExample")
def parse_examples(operation: Operation) -> list[Value]:
    """One example a row. Dense features of a fixed length stay apart; others are not followed."""
    examples, *others = operation.inputs
    count = operation.outputs()
    one_each = examples.kind is Kind.ROWS and examples.shape and len(examples.shape) == 1
    if not one_each or examples.shape is None or not all(v.is_free for v in others):
        return [operation.unproven("its examples are not one for each row")] * count
    shapes = operation.attribute("dense_shapes", []) or []
    types = operation.node.attr["Tdense"].list.type
    if operation.name == "ParseExampleV2":
        sparse = int(operation.attribute("num_sparse", 0))
    else:
        sparse = int(operation.attribute("Nsparse", 0))
    results = [operation.unproven("it gives sparse features")] * count
    for at in range(len(types)):
        sizes = [d.size for d in shapes[at].dim] if at < len(shapes) else [-1]
        if any(size < 0 for size in sizes):
            results[3 * sparse + at] = operation.mixes(_LONGEST)
        else:
            shape = (examples.shape[0], *(Dimension(size) for size in sizes))
            results[3 * sparse + at] = rows(shape, 0)
    return results


@rule("Assert Print PrintV2 NoOp", tolerant=True)
def nothing(operation: Operation) -> Value:
    """A check of the whole batch: where it fails, its requests are run one by one."""
    return free() if not operation.inputs else operation.inputs[0]
