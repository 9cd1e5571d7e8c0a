"""The result of comparing two versions: sentences, tables, and an assertion for tests."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.showing import figures, html_picture, views
from workbench.experiments.store.packed_arrays import pack, unpack, without_infinity
from workbench.experiments.versions.agreement import (
    OutputDifference,
    PairedLatency,
    absolute_difference,
    classes_of,
    confusion,
    mcnemar,
    output_difference,
    per_example_equal,
)
from workbench.experiments.versions.example_images import example_png, images_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

_SIGNIFICANT = 0.05
_WORST_SHOWN = 10
_KEPT_BYTES = 32 * 10**6


@dataclass(frozen=True)
class VersionFacts:
    """A version's size, memory and load time; sizes in bytes, times in seconds."""

    version: int
    size_bytes: int
    memory_bytes: int | None
    load_seconds: float


@dataclass(frozen=True, eq=False)
class VersionComparison:
    """Two versions of a model compared on the same inputs.

    Attributes:
        inputs: by name; `answers`: the outputs of both versions, by name.
        labels: the right answers, if given.
        outputs: the differences of each output that both have.
        output: the output to compare, if it was named.
        latency: the paired comparison; `seconds`: its measurements, [pairs, 2].
        facts: size, memory and load time of both; `changes`: of the signatures, in words.
        rtol, atol: the tolerances within which numbers are equal.
        number: in the store; None if it was not kept.
        server: the server's name; None in comparisons kept by earlier versions.
    """

    model: str
    versions: tuple[int, int]
    inputs: Mapping[str, np.ndarray] = field(repr=False)
    answers: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] = field(repr=False)
    labels: np.ndarray | None = field(repr=False)
    outputs: tuple[OutputDifference, ...]
    output: str | None
    latency: PairedLatency
    seconds: np.ndarray = field(repr=False)
    facts: tuple[VersionFacts, VersionFacts]
    changes: tuple[str, ...]
    rtol: float
    atol: float
    number: int | None = None
    server: str | None = None

    @cached_property
    def answer(self) -> str:
        """The name of the output to compare: by default the first classification."""
        if self.output is not None:
            return self.output
        names = [each.name for each in self.outputs]
        classifying = [n for n in names if self._classes(n) is not None]
        return (classifying or names)[0]

    def _classes(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        one, two = classes_of(self.answers[0][name]), classes_of(self.answers[1][name])
        return None if one is None or two is None else (one, two)

    @cached_property
    def classes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The classes that each version gives; None if the answer is not a class."""
        found = self._classes(self.answer)
        if found is not None and self.labels is not None and self.labels.dtype.kind == "f":
            # The labels are numbers, not classes.
            return None
        return found

    @property
    def groups(self) -> np.ndarray | None:
        """The class of each example: its label, or else the first version's answer; None if the
        answer is not a class."""
        if self.classes is None:
            return None
        return self.classes[0] if self.labels is None else self.labels

    @cached_property
    def difference(self) -> OutputDifference:
        """The difference of the compared output."""
        return next(each for each in self.outputs if each.name == self.answer)

    @cached_property
    def _equal(self) -> np.ndarray:
        """For each example, whether the answers agree: in the class, or else in all numbers."""
        if self.classes is not None:
            return np.asarray(self.classes[0] == self.classes[1])
        one, two = self.answers[0][self.answer], self.answers[1][self.answer]
        if one.shape != two.shape:
            return np.zeros(len(one), bool)
        return per_example_equal(one, two, self.rtol, self.atol)

    @property
    def agreement(self) -> float:
        """The share of examples with the same answer."""
        return float(self._equal.mean())

    @cached_property
    def _right(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The examples that each gets right; None without labels or classes."""
        if self.labels is None or self.classes is None:
            return None
        return self.classes[0] == self.labels, self.classes[1] == self.labels

    @property
    def accuracies(self) -> tuple[float, float] | None:
        """The share of examples that each gets right; None without labels or classes."""
        return self._right and (float(self._right[0].mean()), float(self._right[1].mean()))

    @property
    def only_right(self) -> tuple[int, int] | None:
        """The numbers of examples that only the first, and only the second, gets right."""
        if self._right is None:
            return None
        one, two = self._right
        return int((one & ~two).sum()), int((two & ~one).sum())

    @property
    def p_value(self) -> float | None:
        """The p-value of McNemar's exact test that both are right equally often."""
        return None if self.only_right is None else mcnemar(*self.only_right)

    @cached_property
    def errors(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Mean absolute and root mean square error of each; None if the answer is not a number."""
        if self.labels is None or self.classes is not None or not self.difference.numeric:
            return None
        found = []
        for answer in self.answers:
            values = np.asarray(answer[self.answer], np.float64).reshape(len(self.labels), -1)
            if values.shape[1] != 1:
                return None
            off = values[:, 0] - self.labels
            found.append((float(np.abs(off).mean()), math.sqrt(float((off**2).mean()))))
        return found[0], found[1]

    def confusion(self, version: int) -> pd.DataFrame:
        """The counts of labels (rows) by a version's answers (columns).

        Raises:
            ValueError: there are no labels or no classes, or it is neither of the two versions.
        """
        import pandas as pd

        if self.labels is None or self.classes is None:
            raise ValueError("Confusion needs labels (y=...) and an output that is a class")
        if version not in self.versions:
            raise ValueError(f"Version {version} is not one of {self.versions}")
        given = self.classes[self.versions.index(version)]
        names, table = confusion(self.labels, given)
        return pd.DataFrame(
            table, pd.Index(names, name="label"), pd.Index(names, name=f"version {version}")
        )

    # Tables.

    @property
    def frame(self) -> pd.DataFrame:
        """One row a measure, one column a version."""
        import pandas as pd

        one, two = self.facts
        rows: dict[str, tuple[Any, Any]] = {}
        if self.accuracies is not None:
            rows["accuracy"] = self.accuracies
        if self.only_right is not None:
            rows["right where the other is wrong"] = self.only_right
        if self.errors is not None:
            rows["mean absolute error"] = (self.errors[0][0], self.errors[1][0])
            rows["root mean square error"] = (self.errors[0][1], self.errors[1][1])
        rows["median latency (ms)"] = (self.latency.first * 1e3, self.latency.second * 1e3)
        p99 = np.percentile(self.seconds, 99, axis=0) * 1e3
        rows["99th percentile of latency (ms)"] = (float(p99[0]), float(p99[1]))
        rows["memory of its worker (MB)"] = (_megabytes(one), _megabytes(two))
        rows["size on disk (MB)"] = (one.size_bytes / 2**20, two.size_bytes / 2**20)
        # A single load of each is too noisy to compare, so it is only reported.
        rows["load time, of one load (s)"] = (one.load_seconds, two.load_seconds)
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=[f"version {v}" for v in self.versions]
        )

    def goodput(self, target_ms: float) -> tuple[float, float]:
        """The share of the requests to each version that were answered within `target_ms`."""
        first, second = (self.seconds <= target_ms / 1e3).mean(axis=0).tolist()
        return first, second

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """A row for each class (see `groups`): the number of examples, the share with the same
        answer, and with labels the share that each version gets right.

        Raises:
            ValueError: the answer is not a class.
        """
        import pandas as pd

        if self.classes is None or self.groups is None:
            raise ValueError("Slices by class need an output that is a class")
        shares = {"same answer": self.classes[0] == self.classes[1]}
        name = f"class of version {self.versions[0]}"
        if self.labels is not None:
            name = "label"
            for version, given in zip(self.versions, self.classes, strict=True):
                shares[f"version {version} right"] = given == self.labels
        by_class = pd.DataFrame(shares).groupby(pd.Index(self.groups, name=name))
        table = by_class.mean()
        table.insert(0, "examples", by_class.size())
        return table

    @cached_property
    def disagreements(self) -> pd.DataFrame:
        """The examples with different answers, the furthest apart first: the index in x, both
        answers, the label if there is one, and the largest difference."""
        import pandas as pd

        places = np.flatnonzero(~self._equal)
        one, two = (answer[self.answer] for answer in self.answers)
        apart = np.full(len(self._equal), math.nan)
        if self.difference.numeric and one.shape == two.shape and one.size:
            apart = absolute_difference(one, two).reshape(len(one), -1).max(axis=1)
        shown = self.classes if self.classes is not None else (_lists(one), _lists(two))
        order = places[np.argsort(-np.nan_to_num(apart[places], nan=0.0), kind="stable")]
        table: dict[str, Any] = {"example": order}
        for version, values in zip(self.versions, shown, strict=True):
            table[f"version {version}"] = [values[i] for i in order]
        if self.labels is not None:
            table["label"] = self.labels[order]
        table["difference"] = apart[order]
        return pd.DataFrame(table)

    # Words.

    def sentences(self) -> list[str]:
        """The findings, one sentence each."""
        first, second = self.versions
        count = len(self._equal)
        kind = "class" if self.classes is not None else "answer"
        differing = int((~self._equal).sum())
        said = [
            f"Both versions give the same {kind} for {count - differing} of {count} examples "
            f"({self.agreement:.2%})."
        ]
        for each in self.outputs:
            if each.shapes[0] != each.shapes[1]:
                shapes = " and ".join(str(list(s)) for s in each.shapes)
                said.append(f"Output {each.name} has different shapes: {shapes}.")
            elif each.numeric and not math.isnan(each.largest):
                said.append(
                    f"Output {each.name} is the same to the last bit."
                    if each.largest == 0
                    else f"Output {each.name} differs by at most {each.largest:.3g} "
                    f"(mean {each.mean:.3g})."
                )
        if self.accuracies is not None and self.only_right is not None:
            assert self.p_value is not None
            sure = "significant" if self.p_value < _SIGNIFICANT else "not significant"
            said += [
                f"Version {first} is right on {self.accuracies[0]:.1%} of the examples, version "
                f"{second} on {self.accuracies[1]:.1%}.",
                f"Only version {first} is right on {self.only_right[0]} examples, only version "
                f"{second} on {self.only_right[1]}: the difference is {sure} (McNemar's exact "
                f"test, p = {self.p_value:.2g}).",
            ]
        if self.errors is not None:
            said.append(
                f"The mean absolute error is {self.errors[0][0]:.3g} for version {first} and "
                f"{self.errors[1][0]:.3g} for version {second}."
            )
        said.append(f"Version {second} is {self.latency}.")
        if self.changes and self.changes[0] != "signatures unchanged":
            said += [f"{change[:1].upper()}{change[1:]}." for change in self.changes[:-1]]
        return said

    def assert_agreement(
        self, *, at_least: float = 1.0, largest_difference: float | None = None
    ) -> None:
        """Assert that the versions agree, for tests and pipelines.

        Args:
            at_least: the share of examples that must get the same answer.
            largest_difference: the most that any number may differ; None: any difference.

        Raises:
            AssertionError: they do not agree; the text says by how much, with the worst example.
        """
        if self.agreement < at_least:
            first = self.disagreements.iloc[0].to_dict()
            raise AssertionError(
                f"Versions {self.versions[0]} and {self.versions[1]} agree on {self.agreement:.2%} "
                f"of the examples, less than {at_least:.2%}; the furthest apart: {first}"
            )
        if largest_difference is None:
            return
        for each in self.outputs:
            if each.shapes[0] != each.shapes[1] or each.largest > largest_difference:
                raise AssertionError(
                    f"Output {each.name} of versions {self.versions[0]} and {self.versions[1]} "
                    f"differs by {each.largest:.3g}, more than {largest_difference:g}"
                )

    def plot(self) -> Picture:
        """Answers, latency and memory side by side, and the examples answered differently."""
        return figures(self)

    def to_json(self, arrays: bool = True) -> dict[str, Any]:
        """Plain data; `from_json` needs the arrays. Inputs beyond 32 MB are left out, and with them
        the pictures of examples."""
        data = {
            "model": self.model,
            "server": self.server,
            "versions": list(self.versions),
            "examples": len(self._equal),
            "answer": self.answer,
            "agreement": self.agreement,
            "outputs": [
                {**each.__dict__, "shapes": [list(s) for s in each.shapes]} for each in self.outputs
            ],
            "accuracy": self.accuracies,
            "only_right": self.only_right,
            "p_value": self.p_value,
            "errors": self.errors,
            "latency": {**self.latency.__dict__, "verdict": self.latency.verdict},
            "facts": [each.__dict__ for each in self.facts],
            "changes": list(self.changes),
            "sentences": self.sentences(),
        }
        plain: dict[str, Any] = without_infinity(data)
        if not arrays:
            return plain
        small = sum(array.nbytes for array in self.inputs.values()) <= _KEPT_BYTES
        return {
            **plain,
            "output": self.output,
            "rtol": self.rtol,
            "atol": self.atol,
            "inputs": {name: pack(array) for name, array in self.inputs.items() if small},
            "answers": [
                {name: pack(array) for name, array in answer.items()} for answer in self.answers
            ],
            "labels": None if self.labels is None else pack(self.labels),
            "seconds": pack(self.seconds),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> VersionComparison:
        """The comparison that `to_json` wrote."""
        first, second = data["versions"]
        one, two = ({n: unpack(a) for n, a in each.items()} for each in data["answers"])
        rtol, atol = data["rtol"], data["atol"]
        latency = {k: v for k, v in data["latency"].items() if k != "verdict"}
        facts = tuple(VersionFacts(**each) for each in data["facts"])
        return cls(
            model=data["model"],
            versions=(first, second),
            inputs={name: unpack(array) for name, array in data["inputs"].items()},
            answers=(one, two),
            labels=None if data["labels"] is None else unpack(data["labels"]),
            outputs=tuple(
                output_difference(name, one[name], two[name], rtol, atol)
                for name in (each["name"] for each in data["outputs"])
            ),
            output=data["output"],
            latency=PairedLatency(**latency),
            seconds=unpack(data["seconds"]),
            facts=(facts[0], facts[1]),
            changes=tuple(data["changes"]),
            rtol=rtol,
            atol=atol,
            number=number,
            server=data.get("server"),
        )

    @property
    def _title(self) -> str:
        return f"Versions {self.versions[0]} and {self.versions[1]} of {self.model}"

    def __str__(self) -> str:
        table = self.frame.to_string(float_format="{:.4g}".format)
        return "\n".join([self._title, *self.sentences(), table])

    def _ipython_display_(self) -> None:
        views(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Sentences, tables and figure, without scripts."""
        said = "".join(f"<li>{html.escape(each)}</li>" for each in self.sentences())
        parts = [
            f"<p><b>{html.escape(self._title)}</b></p><ul>{said}</ul>",
            self.frame.to_html(float_format="{:.4g}".format, border=0),
            html_picture(self.plot()._repr_png_(), " ".join(self.sentences())),
        ]
        if self.labels is not None and self.classes is not None:
            tables = "".join(
                f'<td style="vertical-align:top">{self.confusion(v).to_html(border=0)}</td>'
                for v in self.versions
            )
            parts.append(f"<p>Confusion, a row a label:</p><table><tr>{tables}</tr></table>")
        if len(self.disagreements):
            shown = min(_WORST_SHOWN, len(self.disagreements))
            parts += [
                f"<p>Answered differently, the furthest apart first "
                f"({shown} of {len(self.disagreements)}):</p>",
                self._disagreements_html(shown),
            ]
        return "".join(parts)

    def _disagreements_html(self, count: int) -> str:
        """The first disagreements as a table, with pictures of inputs that are images."""
        table = self.disagreements.head(count)
        cells = table.map(lambda v: html.escape(f"{v:.4g}" if isinstance(v, float) else str(v)))
        images = images_of(self.inputs)
        if images is not None:
            drawn = [
                html_picture(example_png(images[place]), size='height="40"')
                for place in table["example"]
            ]
            cells.insert(1, "input", drawn)
        return str(cells.to_html(border=0, index=False, escape=False))


def _megabytes(facts: VersionFacts) -> float:
    return math.nan if facts.memory_bytes is None else facts.memory_bytes / 2**20


def _lists(values: np.ndarray) -> np.ndarray:
    """One object an example, whatever its shape."""
    boxed = np.empty(len(values), object)
    for i, value in enumerate(values):
        boxed[i] = value.tolist() if isinstance(value, np.ndarray) else value
    return boxed
