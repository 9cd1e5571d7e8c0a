"""Operations that certainly mix rows: a version whose requests are merged nevertheless gets a
warning."""

from __future__ import annotations

from workbench.server.worker.rows.rules.rule_book import MIXING, NEVER

_RANDOM = (
    "RandomUniform RandomUniformInt RandomStandardNormal TruncatedNormal RandomShuffle Multinomial "
    "RandomGamma RandomPoissonV2 StatefulUniform StatefulUniformInt StatefulStandardNormalV2 "
    "StatefulTruncatedNormal StatefulRandomBinomial RngReadAndSkip ParameterizedTruncatedNormal"
)
NEVER.update(dict.fromkeys(_RANDOM.split(), "it draws random numbers for the batch as a whole"))

for names, text in (
    ("Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2", "it compares all rows"),
    (
        "SegmentSum SegmentMean SegmentMax SegmentMin SegmentProd UnsortedSegmentSum "
        "UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd SegmentSumV2 SegmentMaxV2 "
        "SegmentMinV2 SegmentProdV2 SparseSegmentSum SparseSegmentMean SparseSegmentSqrtN",
        "it combines the rows of a segment",
    ),
    (
        "ScatterNd TensorScatterAdd TensorScatterUpdate TensorScatterSub TensorScatterMax "
        "TensorScatterMin DynamicStitch ParallelDynamicStitch DynamicPartition",
        "it moves rows to computed positions",
    ),
    ("Where ListDiff InTopKV2 InTopK", "its result depends on all rows"),
):
    MIXING.update(dict.fromkeys(names.split(), text))
