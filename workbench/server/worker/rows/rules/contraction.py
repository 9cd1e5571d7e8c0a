"""Products of tensors, and operations on images: rows stay apart if no sum runs over them."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, Dimension
from workbench.server.worker.rows.rules.rule_book import known, need, row_shape, rule
from workbench.server.worker.rows.values import Kind, Value, free, rows
from workbench.server.worker.rows.walk import Operation

_JOINS = "it multiplies rows by other rows"
_SUMS = "it sums over the rows of the batch"
_NOT_FIRST = "the batch is not the first dimension of its input"
_SHAPE = "the shape of an input is not known"
_OTHER_SIZE = "one of its inputs has another size along the batch"
_OTHER_COUNT = "its inputs have different numbers of rows"


@rule("MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3")
def matrix_product(operation: Operation) -> Value:
    """Rows stay apart unless the sum runs over them or both factors have rows."""
    one, other = operation.inputs
    shapes = [known(value.shape, _SHAPE) for value in operation.inputs]
    need(min(map(len, shapes)) > 1, _SHAPE)
    need(all(v.is_free or v.kind is Kind.ROWS for v in operation.inputs))
    rank = max(map(len, shapes))
    turned = [
        bool(operation.attribute(name, False) or operation.attribute(also, False))
        for name, also in (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
    ]
    # Where the rows of each come to lie: outside of the matrices, or in the result's.
    axes = set()
    for kept, (value, shape) in enumerate(zip(operation.inputs, shapes, strict=True)):
        if value.kind is not Kind.ROWS:
            continue
        inner = value.axis - (len(shape) - 2)
        if inner < 0:
            axes.add(value.axis + rank - len(shape))
        elif (1 - inner if turned[kept] else inner) == kept:
            axes.add(rank - 2 + kept)
        else:
            return operation.mixes(_SUMS)
    axis = axes.pop()
    both = one.kind is other.kind is Kind.ROWS
    if axes or (both and axis >= rank - 2):
        return operation.mixes(_JOINS)
    need(not both or one.row_count == other.row_count, _OTHER_COUNT)
    outer = [ONE] * (rank - 2)
    for value, shape in zip(operation.inputs, shapes, strict=True):
        for at, dimension in enumerate(shape[:-2], rank - len(shape)):
            need(at != axis or not value.is_free or dimension == ONE, _OTHER_SIZE)
            if outer[at] == ONE:
                outer[at] = dimension
    height, width = shapes[0][-1 if turned[0] else -2], shapes[1][-2 if turned[1] else -1]
    return operation.rows(axis, (*outer, height, width))


@rule("Einsum")
def einsum(operation: Operation) -> Value:
    """Rows stay apart where one letter stands for them in all terms and in the result."""
    equation = str(operation.attribute("equation", "")).replace(" ", "")
    need("->" in equation, "its equation is not known")
    left, result = equation.split("->")
    shapes = [known(value.shape, _SHAPE) for value in operation.inputs]
    need(all(v.is_free or v.kind is Kind.ROWS for v in operation.inputs))
    expanded = [
        _labels(term, len(shape)) for term, shape in zip(left.split(","), shapes, strict=True)
    ]
    terms = list(zip(operation.inputs, shapes, expanded, strict=True))
    letter, *others = {labels[v.axis] for v, _, labels in terms if v.kind is Kind.ROWS}
    if others or any(labels.count(letter) > 1 for labels in expanded):
        return operation.mixes(_JOINS)
    dots = max(sum(label.startswith(".") for label in labels) for labels in expanded)
    wanted = _labels(result, len(result.replace("...", "")) + dots)
    if letter not in wanted:
        return operation.mixes(_SUMS)
    sizes: dict[str, Dimension] = {}
    for value, shape, labels in terms:
        for label, dimension in zip(labels, shape, strict=True):
            need(not value.is_free or label != letter or dimension == ONE, _OTHER_SIZE)
            if sizes.get(label, ONE) == ONE:
                sizes[label] = dimension
            elif label == letter and value.kind is Kind.ROWS:
                need(sizes[label] == dimension, _OTHER_COUNT)
    return operation.rows(wanted.index(letter), tuple(sizes[label] for label in wanted))


def _labels(term: str, rank: int) -> list[str]:
    """A label for each axis; those of an ellipsis are counted from its end, as it broadcasts."""
    if "..." not in term:
        return list(term)
    before, after = term.split("...")
    dots = rank - len(before) - len(after)
    return [*before, *(f".{n}" for n in range(dots, 0, -1)), *after]


@rule(
    "Conv Conv2D Conv3D DepthwiseConv2dNative Dilation2D MaxPool MaxPoolV2 AvgPool MaxPool3D "
    "AvgPool3D LRN ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea ScaleAndTranslate "
    "DepthToSpace SpaceToDepth ExtractImagePatches ExtractVolumePatches AdjustContrastv2 AdjustHue "
    "AdjustSaturation HSVToRGB RGBToHSV"
)
def on_images(operation: Operation) -> Value:
    """Each image by itself; filters and sizes are the same for all."""
    image, *others = operation.inputs
    alike = all(value.is_free for value in others)
    if image.kind is Kind.SPREAD and alike:
        return image
    first = image.kind is Kind.ROWS and image.axis == 0
    need(first and (image.rank or 0) >= 4, "the batch is not the first of four dimensions")
    need(alike, "its filter or its size comes from the request")
    return operation.image_of(image)


@rule("SpaceToBatchND")
def space_to_batch(operation: Operation) -> Value:
    """How a dilated filter is applied: to smaller images, which `BatchToSpaceND` joins again."""
    image, block, paddings = operation.inputs
    need(image.kind is Kind.ROWS and image.axis == 0, _NOT_FIRST)
    need(block.whole_numbers is not None and paddings.is_free, "how it splits images is not known")
    return Value(Kind.SPREAD, image.shape, source=str(block.whole_numbers))


@rule("BatchToSpaceND")
def batch_to_space(operation: Operation) -> Value:
    """Joins the images that `space_to_batch` took apart."""
    image, block, crops = operation.inputs
    same = image.kind is Kind.SPREAD and image.source == str(block.whole_numbers)
    need(same and crops.is_free, "it joins rows that no earlier operation has split")
    return operation.image_of(image)


@rule("Conv2DBackpropInput Conv3DBackpropInputV2", content=True)
def transposed_convolution(operation: Operation) -> Value:
    """Each image by itself, where the wanted size leaves the batch as it is."""
    sizes, kernel, image = operation.inputs
    if image.kind is Kind.FREE and sizes.is_free:
        return operation.free()
    given = row_shape(image, _NOT_FIRST)
    need(image.axis == 0, _NOT_FIRST)
    need(kernel.is_free, "its filter comes from the request")
    shape = known(sizes.sizes, "the size of its result is not known")
    apart = shape[0] == given[0] and not any(d.has_rows for d in shape[1:])
    need(apart, "the batch is not the first dimension of its result")
    return operation.rows(0, shape)


@rule("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3")
def batch_normalisation(operation: Operation) -> Value | list[Value]:
    """Apart with fixed means; while training it uses the batch's."""
    image, *others = operation.inputs
    if operation.attribute("is_training", True):
        return operation.mixes("it normalises by the mean of the batch")
    need(image.kind is Kind.ROWS and image.axis == 0, _NOT_FIRST)
    need(all(value.is_free for value in others), "its means come from the request")
    return [rows(image.shape, 0), *[free()] * (operation.outputs() - 1)]
