"""Products of tensors, and operations on images: rows stay apart if no sum runs over them."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, Dimension
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Shape, Value, free, rows
from workbench.server.worker.rows.walk import Operation

_JOINS = "it multiplies rows with other rows"


@rule("MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3")
def matrix_product(operation: Operation) -> Value:
    """Rows stay apart unless the sum runs over them or both factors have rows."""
    one, other = operation.inputs
    if one.shape is None or other.shape is None or min(len(one.shape), len(other.shape)) < 2:
        return operation.unproven("the shape of an input is not known")
    turned = [
        bool(operation.attribute(name, False) or operation.attribute(also, False))
        for name, also in (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
    ]
    for value in (one, other):
        if not value.is_free and value.kind is not Kind.ROWS:
            return operation.unproven("it is not known to keep rows apart here")
    rank = max(len(one.shape), len(other.shape))
    # Where the rows of each come to lie; -1 where the sum runs over them.
    axes = set()
    for value, swapped, kept in ((one, turned[0], 0), (other, turned[1], 1)):
        if value.kind is not Kind.ROWS:
            continue
        assert value.shape is not None
        inner = value.axis - (len(value.shape) - 2)
        if inner < 0:
            axes.add(value.axis + rank - len(value.shape))
        elif (inner if not swapped else 1 - inner) == kept:
            axes.add(rank - 2 + kept)
        else:
            return operation.mixes("it adds the rows of the batch up")
    if len(axes) > 1:
        return operation.mixes(_JOINS)
    axis = axes.pop()
    if all(v.kind is Kind.ROWS for v in operation.inputs):
        if axis >= rank - 2:
            return operation.mixes(_JOINS)
        if one.shape[one.axis] != other.shape[other.axis]:
            return operation.unproven("its inputs have different numbers of rows")
    shape = _product_shape(one.shape, other.shape, turned, rank)
    for value in (one, other):
        assert value.shape is not None
        missing = rank - len(value.shape)
        outside = missing <= axis < rank - 2
        if value.is_free and outside and value.shape[axis - missing] != ONE:
            return operation.unproven("one of its inputs has a size of its own for the batch")
    return operation.rows(axis, shape)


def _product_shape(one: Shape, other: Shape, turned: list[bool], rank: int) -> Shape:
    outer = [ONE] * (rank - 2)
    for shape in (one, other):
        missing = rank - len(shape)
        for at, dimension in enumerate(shape[:-2], missing):
            if outer[at] == ONE:
                outer[at] = dimension
    height = one[-1] if turned[0] else one[-2]
    width = other[-2] if turned[1] else other[-1]
    return (*outer, height, width)


@rule("Einsum")
def einsum(operation: Operation) -> Value:
    """Rows stay apart where one letter stands for them in all terms and in the result."""
    equation = str(operation.attribute("equation", "")).replace(" ", "")
    if "->" not in equation:
        return operation.unproven("its equation is not known")
    left, result = equation.split("->")
    terms = left.split(",")
    expanded = []
    for term, value in zip(terms, operation.inputs, strict=True):
        if value.shape is None:
            return operation.unproven("the shape of an input is not known")
        expanded.append(_labels(term, len(value.shape)))
    letters = {
        labels[value.axis]
        for labels, value in zip(expanded, operation.inputs, strict=True)
        if value.kind is Kind.ROWS
    }
    if any(not v.is_free and v.kind is not Kind.ROWS for v in operation.inputs):
        return operation.unproven("it is not known to keep rows apart here")
    if len(letters) > 1:
        return operation.mixes(_JOINS)
    letter = letters.pop()
    dots = max((len([x for x in labels if x.startswith(".")]) for labels in expanded), default=0)
    wanted = _labels(result, len(result.replace("...", "")) + dots)
    if letter not in wanted:
        return operation.mixes("it adds the rows of the batch up")
    sizes: dict[str, Dimension] = {}
    for labels, value in zip(expanded, operation.inputs, strict=True):
        assert value.shape is not None
        for label, dimension in zip(labels, value.shape, strict=True):
            if value.is_free and label == letter and dimension != ONE:
                return operation.unproven("one of its inputs has a size of its own for the batch")
            if labels.count(letter) > 1:
                return operation.mixes(_JOINS)
            if sizes.get(label, ONE) == ONE:
                sizes[label] = dimension
            elif label == letter and value.kind is Kind.ROWS and sizes[label] != dimension:
                return operation.unproven("its inputs have different numbers of rows")
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
    if image.kind is Kind.SPREAD and all(value.is_free for value in others):
        return image
    if image.kind is not Kind.ROWS or image.axis != 0 or image.rank is None or image.rank < 4:
        return operation.unproven("the batch is not the first of four dimensions")
    if not all(value.is_free for value in others):
        return operation.unproven("its filter, or its size, is of the request")
    return operation.image_of(image)


@rule("SpaceToBatchND")
def space_to_batch(operation: Operation) -> Value:
    """How a dilated filter is applied: to smaller images, which `BatchToSpaceND` joins again."""
    image, block, paddings = operation.inputs
    known = block.whole_numbers is not None and paddings.is_free
    if image.kind is not Kind.ROWS or image.axis != 0 or not known:
        return operation.unproven("the batch is not its first dimension")
    return Value(Kind.SPREAD, image.shape, source=str(block.whole_numbers))


@rule("BatchToSpaceND")
def batch_to_space(operation: Operation) -> Value:
    """Joins the images that `space_to_batch` took apart."""
    image, block, crops = operation.inputs
    same = image.source == str(block.whole_numbers) and crops.is_free
    if image.kind is not Kind.SPREAD or not same:
        return operation.unproven("it joins rows that nothing has taken apart before")
    return operation.image_of(image)


@rule("Conv2DBackpropInput Conv3DBackpropInputV2", content=True)
def transposed_convolution(operation: Operation) -> Value:
    """Each image by itself, where the wanted size leaves the batch as it is."""
    sizes, kernel, image = operation.inputs
    if image.kind is Kind.FREE and sizes.is_free:
        return operation.free()
    if image.kind is not Kind.ROWS or image.axis != 0 or image.shape is None:
        return operation.unproven("the batch is not its first dimension")
    if not kernel.is_free or sizes.content is None or None in sizes.content:
        return operation.unproven("the size of its result is not known")
    shape = tuple(d for d in sizes.content if d is not None)
    if shape[0] != image.shape[0] or any(d.has_rows for d in shape[1:]):
        return operation.unproven("the batch is not the first dimension of its result")
    return operation.rows(0, shape)


@rule("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3")
def batch_normalisation(operation: Operation) -> list[Value]:
    """Apart with fixed means; while training it uses the batch's."""
    image, *others = operation.inputs
    if operation.attribute("is_training", True):
        return [operation.mixes("it normalises by the mean of the batch")] * operation.outputs()
    if image.kind is not Kind.ROWS or image.axis != 0 or not all(v.is_free for v in others):
        return [operation.unproven("the batch is not its first dimension")] * operation.outputs()
    return [rows(image.shape, 0), *[free()] * (operation.outputs() - 1)]
