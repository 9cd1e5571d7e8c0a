"""Of a saved graph only what serving reaches is loaded; what cannot be followed is left alone."""

from __future__ import annotations

import pytest

from tests.server.worker.conftest import Ask
from tests.server.worker.test_loaded_model import strings


def kinds(functions: list[str]) -> list[str]:
    """Functions without the numbers that TensorFlow gives them."""
    return sorted(name.rpartition("_")[0].strip("_") for name in functions)


def test_what_saves_a_model_is_left_out(ask: Ask) -> None:
    pruned, operations, functions = ask("for_serving", "digits")
    assert pruned
    assert kinds(functions) == [
        "inference__traced_restore",
        "inference_classify",
        "inference_signature_wrapper_classify",
    ]
    # One call of the signature and one that restores; nothing reads a variable by itself.
    assert operations.count("StatefulPartitionedCall") == 2
    assert set(operations) <= {"StatefulPartitionedCall", "VarHandleOp", "Placeholder", "NoOp"}


def test_lookup_tables_keep_what_initialises_them(ask: Ask) -> None:
    pruned, operations, _ = ask("for_serving", "lookup")
    assert pruned
    assert "NoOp" in operations
    outputs = ask("run", "lookup", "serving_default", {"words": strings(b"workbench")})
    assert outputs["ids"].tolist() == [1]


@pytest.mark.parametrize(
    "edit",
    [
        "meta.collection_def['variables'].node_list.value.append('v')",
        "meta.ClearField('saver_def')",
        "meta.saver_def.restore_op_name = 'nowhere'",
        "info = next(iter(meta.signature_def['serving_default'].inputs.values()));"
        "info.coo_sparse.values_tensor_name = info.name",
    ],
    ids=["collections", "no saver", "an unknown node", "a sparse input"],
)
def test_what_cannot_be_followed_is_left_alone(ask: Ask, edit: str) -> None:
    whole = ask("for_serving", "digits", "meta.ClearField('saver_def')")
    pruned, operations, functions = ask("for_serving", "digits", edit)
    assert not pruned
    assert (operations, functions) == whole[1:]


def test_a_model_of_tensorflow_1_is_left_alone(ask: Ask) -> None:
    pruned, operations, _ = ask("for_serving", "half_plus_two")
    assert not pruned
    assert "SaveV2" in operations


def test_implementations_that_find_each_other_by_name_stay(ask: Ask) -> None:
    name = "saved_for_another_device"
    edit = (
        f"f = meta.graph_def.library.function.add(); f.signature.name = {name!r};"
        "f.attr['api_implements'].s = b'lstm'"
    )
    assert name in ask("for_serving", "digits", edit)[2]
