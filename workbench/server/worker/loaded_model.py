"""A SavedModel, loaded the way TensorFlow Serving loads it, and called the way it calls it.

The model lives in a private `Graph` and `Session` (TensorFlow Serving's "TF1 session path",
which serves TensorFlow 2 SavedModels as well). Calls go through callables, which are
`DirectSession::RunCallable` itself: unlike `Session.run` it does not compare shapes with the
signature's, exactly as TensorFlow Serving does not, and its error texts are the original's.
TensorFlow prunes and optimises the graph when it creates a callable, so the first run of a
signature is slow.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import dtype_name
from workbench.formats.saved_model.saved_model_file import GRAPH_FILES
from workbench.formats.saved_model.version_record import read_record
from workbench.formats.wire.protobuf import field
from workbench.ipc.frames import Tensors
from workbench.server.worker.checkpoint_check import parsed, restoring
from workbench.server.worker.composites import flattened
from workbench.server.worker.op_libraries import load_operations
from workbench.server.worker.pruning import for_serving
from workbench.server.worker.rows import signature_facts
from workbench.server.worker.twins import twins

Progress = Callable[[str, dict[str, Any]], None]
Run = Callable[..., list[np.ndarray]]
# A file exists and cannot be read right now: a network file system does not answer, or file
# descriptors or memory have run out.
_PASSING = frozenset({
    errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
    errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET,
    errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTDOWN, errno.EHOSTUNREACH,
})  # fmt: skip


_ABOUT_XLA = re.compile(
    r"\n*Stack trace for op definition: ?\n\S*dummy_file_name\S*\n*(?=\n)"
    r"|\n[^\n]*TF_DUMP_GRAPH_PREFIX[^\n]*"
)
# So many sets of requested outputs are optimised and kept. For any further set, all outputs are
# computed, and the requested ones are selected.
_MOST_CALLS = 32


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every exception into a ServingError."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        raise translate(error) from error


class LoadedModel:
    """One SavedModel in this process: `read_graph`, then `finish`, and it can be run.

    Args:
        path: the version's folder.
        tags: the meta graph to load, normally `("serve",)`.
        intra_op_threads: threads one operation may use.
        gpu_memory_fraction: of a GPU's memory, at most for this version; 0 sets no limit.
        op_libraries: packages and shared libraries whose operations the graph may need, besides
            those that are recorded with the version.
        progress: called with an event kind and its data as the load goes on.

    Raises:
        ServingError: NOT_FOUND, UNIMPLEMENTED, or whatever TensorFlow reports.
    """

    def __init__(
        self,
        path: str,
        tags: Sequence[str],
        intra_op_threads: int,
        progress: Progress,
        gpu_memory_fraction: float = 0.0,
        op_libraries: Sequence[str] = (),
    ) -> None:
        from tensorflow.core.protobuf import config_pb2
        from tensorflow.python.client import session
        from tensorflow.python.framework import ops

        _check_is_saved_model(path)
        self._op_libraries = op_libraries
        self.seconds: dict[str, float] = {}
        self._path = path
        self._tags = tags
        self._progress = progress
        self._graph = ops.Graph()
        config = config_pb2.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            # Runs use the calling thread, so a larger pool would only idle.
            inter_op_parallelism_threads=1,
            allow_soft_placement=True,
        )
        # By default TensorFlow takes the whole device, and a second version could not load.
        config.gpu_options.allow_growth = True
        config.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
        with _translated():
            self._session = session.Session(graph=self._graph, config=config)

    @_translated()
    def read_graph(self) -> None:
        """Everything that needs no memory for the weights; `finish` does the rest.

        Raises:
            ServingError: whatever TensorFlow reports.
        """
        from google.protobuf import json_format
        from tensorflow.python.framework import constant_op
        from tensorflow.python.saved_model import loader_impl

        path, tags = self._path, self._tags
        started = time.monotonic()
        self._progress("reading_saved_model", {"path": path})
        record = read_record(Path(path))
        load_operations([*self._op_libraries, *record.packages])
        loader = parsed(path)
        self._progress("reading_meta_graph", {"tags": " ".join(tags)})
        meta_graph = for_serving(loader.get_meta_graph_def_from_tags(tags))
        # Only this meta graph is loaded; the others are freed.
        loader._saved_model = type(loader._saved_model)(meta_graphs=[meta_graph])
        with self._graph.as_default():
            saver, _ = loader.load_graph(self._graph, tags, import_scope=None)
            if saver is not None:
                saver.saver_def = _copy(saver.saver_def)
            anything = constant_op.constant(1.0, name="workbench_probe")
            init_op = loader_impl.get_init_op(meta_graph)
            assets = loader_impl.get_asset_tensors(path, meta_graph)

        definitions = {name: _copy(d) for name, d in meta_graph.signature_def.items()}
        flat = {name: flattened(d) for name, d in definitions.items()}
        self.signatures = {name: _describe(d, record.columns) for name, d in flat.items()}
        self.metadata = {
            "signature_def": {
                name: json_format.MessageToDict(
                    definition,
                    always_print_fields_with_no_presence=True,
                    preserving_proto_field_name=True,
                )
                for name, definition in definitions.items()
            }
        }
        # For gRPC: the fields of a `SignatureDefMap`, serialised here where its class is.
        self.signature_def_map = b"".join(
            field(1, field(1, name.encode()) + field(2, definition.SerializeToString()))
            for name, definition in sorted(definitions.items())
        )
        self._definitions = flat
        self._calls: dict[tuple[str, tuple[str, ...]], _Call] = {}
        walked = time.monotonic()
        self.twins = twins(meta_graph.graph_def, flat)
        different = {name: d for name, d in flat.items() if name not in self.twins}
        self.facts = signature_facts(meta_graph, different)
        self.facts |= {name: self.facts[twin] for name, twin in self.twins.items()}
        self.seconds["facts"] = time.monotonic() - walked
        # `finish` needs the names of the files, not the graph's message.
        loader._saved_model = None

        session = _InThisThread(self._session)

        def restore() -> None:
            with restoring(path, self._graph):
                loader.restore_variables(session, saver)

        def initialise() -> None:
            # Without tables to fill, TensorFlow 2 saves an operation that does nothing, and running
            # it would take as long as any other.
            if init_op is not None and (init_op.type != "NoOp" or init_op.control_inputs):
                session.run([init_op], assets)
            elif saver is None:
                # A session takes over the graph, in several copies, at its first public run.
                session.run(anything)

        self._left: tuple[Callable[[], None], Callable[[], None]] | None = (restore, initialise)
        self.seconds["graph"] = time.monotonic() - started - self.seconds["facts"]

    @_translated()
    def finish(self) -> None:
        """Restore the variables and run the initialisation; after that the model can be run.

        Raises:
            ServingError: whatever TensorFlow reports.
        """
        assert self._left is not None, "it is finished already"
        (restore, initialise), self._left = self._left, None
        started = time.monotonic()
        restore()
        restored = time.monotonic()
        initialise()
        ended = time.monotonic()
        self.seconds |= {"restore": restored - started, "init": ended - restored}
        micros = round(sum(self.seconds.values()) * 1e6)
        self._progress("loaded_saved_model", {"tags": " ".join(self._tags), "micros": micros})

    @property
    def asked(self) -> list[str]:
        """The signatures that were run so far, themselves or through a twin."""
        run = {signature for signature, _ in self._calls}
        return sorted(run | {name for name, twin in self.twins.items() if twin in run})

    def run(
        self, signature: str, inputs: Tensors, outputs: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Run one signature.

        Args:
            signature: its name.
            inputs: arrays by alias; an alias left out takes the signature's default.
            outputs: the aliases wanted; none named means all.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        one = self.twins.get(signature, signature)
        wanted = tuple(sorted(set(outputs)))
        call = self._calls.get((one, wanted))
        try:
            if call is None:
                if len(self._calls) > _MOST_CALLS:
                    wanted = ()
                call = self._calls.get((one, wanted)) or self._call(one, wanted)
                self._calls[one, wanted] = call
            results = call(inputs)
        except ServingError:
            raise
        except Exception as error:
            raise translate(error) from error
        return {name: results[name] for name in outputs} if outputs else results

    def _call(self, signature: str, outputs: Sequence[str]) -> _Call:
        from tensorflow.python.framework import tensor_util

        definition = self._definitions[signature]
        defaults = definition.defaults
        # TensorFlow numbers arguments in its messages by the order of the fed names.
        inputs = sorted(definition.inputs.items(), key=lambda each: each[1].name)
        tensors = [self._graph.get_tensor_by_name(info.name) for _, info in inputs]
        # TensorFlow feeds arrays without copying them. A state that keeps one would hold shared
        # memory that the next batch overwrites.
        copies = bool(self.facts[signature].effect)
        feeds = [
            _Feed(
                alias,
                np.dtype(tensor.dtype.as_numpy_dtype),
                _dtype(tensor.dtype.as_datatype_enum),
                tensor_util.MakeNdarray(defaults[alias]) if alias in defaults else None,
                copies,
            )
            for (alias, _), tensor in zip(inputs, tensors, strict=True)
        ]
        fed = {info.name: number for number, (_, info) in enumerate(inputs)}
        names = {name: definition.outputs[name].name for name in outputs or definition.outputs}
        fetched = {name: tensor for name, tensor in sorted(names.items()) if tensor not in fed}
        return _Call(
            _callable(
                self._session, tensors, list(map(self._graph.get_tensor_by_name, fetched.values()))
            ),
            feeds,
            list(fetched),
            {name: fed[tensor] for name, tensor in names.items() if tensor in fed},
        )


class _Feed(NamedTuple):
    """An input of a call: its dtype and TensorFlow's name for it, the value for requests without
    the input, and whether values are copied."""

    alias: str
    dtype: np.dtype
    kind: str
    default: np.ndarray | None
    copies: bool

    def value_in(self, inputs: Tensors) -> np.ndarray:
        """Its value in a request.

        Raises:
            KeyError: it is missing and has no default.
        """
        value = inputs.get(self.alias)
        if value is not None:
            return value.copy() if self.copies else value
        if self.default is None:
            raise KeyError(self.alias)
        return self.default


class _Call(NamedTuple):
    """A signature that is ready to run: its feeds and fetches, and in `passed` each output that is
    an input, with the input's number, because TensorFlow refuses to fetch a tensor that is fed."""

    run: Run
    feeds: list[_Feed]
    fetched: list[str]
    passed: dict[str, int]

    def __call__(self, inputs: Tensors) -> dict[str, np.ndarray]:
        fed = [feed.value_in(inputs) for feed in self.feeds]
        for number, (feed, value) in enumerate(zip(self.feeds, fed, strict=True)):
            if value.dtype != feed.dtype and dtype_name(value.dtype) != feed.kind:
                # As `DirectSession::Run` puts it, and TensorFlow Serving with it.
                raise invalid_argument(
                    f"Expects arg[{number}] to be {feed.kind} but {dtype_name(value.dtype)} is "
                    "provided"
                )
        results = dict(zip(self.fetched, map(_array, self.run(*fed)), strict=True))
        results.update((name, fed[number]) for name, number in self.passed.items())
        return results


class _InThisThread:
    """A session for `Saver.restore` that runs in the calling thread, so that threads which a run
    starts have the caller's priority."""

    def __init__(self, session: Any) -> None:
        from tensorflow.core.protobuf import config_pb2

        self.graph = session.graph
        self._session = session
        self._options = config_pb2.RunOptions(inter_op_thread_pool=-1)

    def run(self, fetches: Any, feeds: Any = None) -> Any:
        return self._session.run(fetches, feeds, options=self._options)


def _callable(session: Any, feeds: Sequence[Any], fetches: Sequence[Any]) -> Run:
    """A function that feeds and fetches these tensors; the graph is optimised for it now."""
    from tensorflow.core.protobuf import config_pb2

    if not fetches:
        return lambda *values: []
    # The calling thread runs the graph, because handing it to a pool costs more than a small model.
    # The caller enforces deadlines.
    run_options = config_pb2.RunOptions(inter_op_thread_pool=-1)
    options = config_pb2.CallableOptions(
        feed=[tensor.name for tensor in feeds],
        fetch=[tensor.name for tensor in fetches],
        run_options=run_options,
    )
    try:
        make = session._make_callable_from_options
    except AttributeError:
        # It is private. The public call does the same, but more slowly, and optimises later.
        return lambda *values: session.run(
            list(fetches), dict(zip(feeds, values, strict=True)), options=run_options
        )
    made: Run = make(options)
    return made


def _array(result: Any) -> np.ndarray:
    """A result of a run as an array: TensorFlow returns a scalar string as plain bytes."""
    if isinstance(result, bytes):
        return np.array(result, object)
    return result if isinstance(result, np.ndarray) else np.asarray(result)


def _copy(message: Any) -> Any:
    """An independent copy: a part of a message keeps the whole message in memory."""
    return type(message).FromString(message.SerializeToString())


def translate(error: Exception) -> ServingError:
    """TensorFlow's exceptions as ours: same code, same text."""
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow's message had bytes that are not UTF-8.
        return ServingError(Code.INVALID_ARGUMENT, error.object.decode(errors="replace"))
    code = getattr(error, "error_code", None)
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    # XLA adds a dummy source position and debugging hints.
    message = _ABOUT_XLA.sub("", message)
    if isinstance(code, int):
        return ServingError(Code(code), message)
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, f"out of memory: {message}")
    if isinstance(error, OSError) and error.errno in _PASSING:
        return ServingError(Code.UNAVAILABLE, message)
    if isinstance(error, (OSError, KeyError)):
        return ServingError(Code.NOT_FOUND, message)
    return ServingError(Code.INVALID_ARGUMENT, message)


def _check_is_saved_model(path: str) -> None:
    """Refuse other folders, with the texts of TensorFlow Serving's loader."""
    present = set(os.listdir(path)) if os.path.isdir(path) else set()
    if present & set(GRAPH_FILES):
        return
    if "export.meta" in present:
        raise ServingError(Code.UNIMPLEMENTED, "Session Bundle is deprecated and removed.")
    raise ServingError(
        Code.NOT_FOUND,
        "Specified file path does not appear to contain a SavedModel bundle "
        f"(should have a file called `saved_model.pb`)\nSpecified file path: {path}",
    )


def _describe(definition: Any, columns: Mapping[str, str]) -> Signature:
    return Signature(
        inputs={alias: _tensor_info(info) for alias, info in definition.inputs.items()},
        outputs={alias: _tensor_info(info) for alias, info in definition.outputs.items()},
        method_name=definition.method_name,
        defaults=frozenset(definition.defaults),
        originals={alias: columns[alias] for alias in definition.inputs if alias in columns},
    )


def _dtype(number: int) -> str:
    """The name of a dtype as `DataTypeString` prints it: ``DT_FLOAT`` is ``float``."""
    from tensorflow.core.framework import types_pb2

    name: str = types_pb2.DataType.Name(number)
    return name.removeprefix("DT_").lower()


def _tensor_info(info: Any) -> TensorInfo:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(d.size for d in shape.dim)
    return TensorInfo(_dtype(info.dtype), sizes, info.name)
