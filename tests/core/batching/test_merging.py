"""What a graph alone decides about sharing batches, and how that is said."""

from __future__ import annotations

import pytest

from workbench.core.batching.merging import (
    COMPILED_BATCH_SIZES,
    Merging,
    automatic_parameters,
    by_graph,
    has_batch_dimension,
    mixing_warning,
    notes,
)
from workbench.core.signature import Signature, TensorInfo
from workbench.core.signature_facts import SignatureFacts

ROW = TensorInfo("float", (-1, 4))
PER_ROW = Signature({"x": ROW}, {"y": ROW})
MIXES = SignatureFacts(False, "Softmax", "softmax", "it works along the batch", True)


@pytest.mark.parametrize(
    ("facts", "automatic", "decided"),
    [
        (SignatureFacts(True), True, Merging(None, "requests")),
        (
            SignatureFacts(True, compiled=True),
            True,
            Merging(None, "requests", batch_sizes=COMPILED_BATCH_SIZES),
        ),
        (MIXES, True, Merging(False, "graph", "Softmax", "it works along the batch")),
        (
            SignatureFacts(True),
            False,
            Merging(False, "settings", reason="automatic batching is switched off"),
        ),
        (
            SignatureFacts(False, "AssignAdd", reason="it keeps", effect="AssignAdd"),
            True,
            Merging(False, "state", "AssignAdd", "it keeps"),
        ),
    ],
)
def test_what_the_graph_decides(facts: SignatureFacts, automatic: bool, decided: Merging) -> None:
    assert by_graph(PER_ROW, facts, automatic) == decided


@pytest.mark.parametrize(
    "signature",
    [
        Signature({}, {"y": ROW}),
        Signature({"x": TensorInfo("float", (3, 4))}, {"y": ROW}),
        Signature({"x": TensorInfo("float", ())}, {"y": ROW}),
        Signature({"x": TensorInfo("float", None)}, {"y": ROW}),
        Signature({"x": ROW}, {"y": TensorInfo("float", ())}),
    ],
)
def test_without_a_batch_dimension_nothing_is_merged(signature: Signature) -> None:
    assert not has_batch_dimension(signature)
    assert by_graph(signature, SignatureFacts(True), True).by == "shape"


def test_merging_as_asked_is_warned_of_only_where_rows_mix_for_certain() -> None:
    warning = mixing_warning("serving_default", MIXES)
    assert warning is not None
    assert "Softmax" in warning
    assert "set batching to None" in warning
    assert mixing_warning("serving_default", SignatureFacts(True)) is None
    assert mixing_warning("serving_default", SignatureFacts(False, "Custom")) is None


def test_padded_batches_let_as_many_rows_wait() -> None:
    plain, padded = automatic_parameters(), automatic_parameters((1, 4, 16))
    assert plain.allowed_batch_sizes == ()
    assert (padded.max_batch_size, padded.allowed_batch_sizes) == (16, (1, 4, 16))
    waiting = plain.max_enqueued_batches * plain.max_batch_size
    assert padded.max_enqueued_batches * padded.max_batch_size == waiting


@pytest.mark.parametrize(
    ("merging", "said"),
    [
        (Merging(True, "run"), "merged (run)"),
        (
            Merging(False, "graph", "Softmax", "along the batch"),
            "runs alone (graph: Softmax: along the batch)",
        ),
        (
            Merging(None, "requests"),
            "runs alone until live requests have shown that rows do not mix (requests)",
        ),
    ],
)
def test_what_is_said_of_it_and_its_way_as_plain_data(merging: Merging, said: str) -> None:
    assert str(merging) == said
    assert Merging.from_json(merging.to_json()) == merging


def test_what_a_person_should_know_has_a_sentence_for_each_reason() -> None:
    alone = Merging(False, "graph", "Softmax", "it works along the batch")
    assert notes(
        {
            "serve": alone,
            "serving_default": alone,
            "waits": Merging(None, "requests"),
            "audited": Merging(False, "audit", reason="an answer was another one"),
            "fine": Merging(True, "run"),
            "scalar": Merging(False, "shape"),
        }
    ) == [
        "Requests of signature 'audited' run one by one, because an answer was another one",
        "Requests of signatures 'serve' and 'serving_default' run one by one, because of the "
        "operation Softmax: it works along the batch",
    ]
