"""A SavedModel, loaded the way TensorFlow Serving loads it, and called the way it calls it.

The model lives in a private `Graph` and `Session` (TensorFlow Serving's "TF1 session path",
which serves TensorFlow 2 SavedModels as well). Calls go through `TF_SessionRun_wrapper`,
which is `DirectSession::Run` itself: unlike `Session.run` it does not compare shapes with the
signature's, exactly as TensorFlow Serving does not, and its error texts are the original's.
It is a private function of TensorFlow, so it is tried once at load; where it is missing the
public `Session.run` serves instead.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError
from workbench.runtime.frames import Tensors
from workbench.runtime.version_record import read_record
from workbench.runtime.wire import field
from workbench.worker.checkpoint_check import parsed, restoring
from workbench.worker.composites import flattened
from workbench.worker.op_libraries import load_operations
from workbench.worker.pruning import for_serving
from workbench.worker.rows import signature_facts

Progress = Callable[[str, dict[str, Any]], None]

# What the system says when a file is there and cannot be had just now: a network's file system
# that is away, a full table of files or of memory.
_PASSING = frozenset({
    errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
    errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET,
    errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTDOWN, errno.EHOSTUNREACH,
})  # fmt: skip


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
        import tensorflow as tf

        _check_is_saved_model(path)
        self._op_libraries = op_libraries
        self.seconds: dict[str, float] = {}
        self._path = path
        self._tags = tags
        self._progress = progress
        self._graph = tf.Graph()
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            # Runs use the calling thread, so a larger pool would only idle.
            inter_op_parallelism_threads=1,
            allow_soft_placement=True,
        )
        # By default TensorFlow takes the whole device, and a second version could not load.
        config.gpu_options.allow_growth = True
        config.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
        with _translated():
            self._session = tf.compat.v1.Session(graph=self._graph, config=config)

    def read_graph(self) -> None:
        """Everything that needs no memory for the weights; `finish` does the rest.

        Raises:
            ServingError: whatever TensorFlow reports.
        """
        with _translated():
            self._read_graph(self._path, self._tags)

    def _read_graph(self, path: str, tags: Sequence[str]) -> None:
        import tensorflow as tf
        from google.protobuf import json_format
        from tensorflow.python.saved_model import loader_impl

        started = time.monotonic()
        self._progress("reading_saved_model", {"path": path})
        record = read_record(Path(path))
        load_operations([*self._op_libraries, *record.packages])
        loader = parsed(path)
        self._progress("reading_meta_graph", {"tags": " ".join(tags)})
        meta_graph = for_serving(loader.get_meta_graph_def_from_tags(tags))
        # This is what is loaded, and nothing keeps the rest.
        loader._saved_model = type(loader._saved_model)(meta_graphs=[meta_graph])
        with self._graph.as_default():
            saver, _ = loader.load_graph(self._graph, tags, import_scope=None)
            if saver is not None:
                saver.saver_def = _copy(saver.saver_def)
            anything = tf.constant(1.0, name="workbench_probe")
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
        self.facts = signature_facts(meta_graph, flat)
        self.seconds["facts"] = time.monotonic() - walked
        # What is still to be done needs the names of the files, not the graph's message.
        loader._saved_model = None

        session = _InThisThread(self._session)

        def restore() -> None:
            with restoring(path, self._graph):
                loader.restore_variables(session, saver)

        def initialise() -> None:
            if init_op is not None:
                session.run([init_op], assets)
            if saver is None and init_op is None:
                # With its first public run a session takes over the graph, in several copies.
                session.run(anything)
            self._session_run = _session_run(self._session)

        self._left: tuple[Callable[[], None], Callable[[], None]] | None = (restore, initialise)
        self.seconds["graph"] = time.monotonic() - started - self.seconds["facts"]

    def finish(self) -> None:
        """Restore the variables and run what initialises the rest; after that it can be run.

        Raises:
            ServingError: whatever TensorFlow reports.
        """
        assert self._left is not None, "it is finished already"
        (restore, initialise), self._left = self._left, None
        started = time.monotonic()
        with _translated():
            restore()
            restored = time.monotonic()
            initialise()
        ended = time.monotonic()
        self.seconds |= {"restore": restored - started, "init": ended - restored}
        micros = round(sum(self.seconds.values()) * 1e6)
        self._progress("loaded_saved_model", {"tags": " ".join(self._tags), "micros": micros})

    @property
    def asked(self) -> list[str]:
        """The signatures that were run so far."""
        return sorted({signature for signature, _ in self._calls})

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
        key = (signature, tuple(outputs))
        call = self._calls.get(key)
        try:
            if call is None:
                call = self._calls[key] = self._prepare(signature, outputs)
            feeds = {}
            for alias, tensor in call.feeds.items():
                value = inputs.get(alias)
                if value is None:
                    value = call.defaults[alias]
                elif call.copies:
                    value = value.copy()
                feeds[tensor] = value
            results = map(_array, self._session_run(feeds, call.fetches))
            return dict(zip(call.outputs, results, strict=True))
        except ServingError:
            raise
        except Exception as error:
            raise translate(error) from error

    def _prepare(self, signature: str, outputs: Sequence[str]) -> _Call:
        from tensorflow.python.framework import tensor_util

        definition = self._definitions[signature]
        names = list(outputs) or sorted(definition.outputs)
        tensors = [self._graph.get_tensor_by_name(definition.outputs[n].name) for n in names]
        return _Call(
            # TensorFlow numbers arguments in its messages by the order of the fed names.
            feeds={
                alias: self._graph.get_tensor_by_name(info.name)
                for alias, info in sorted(definition.inputs.items(), key=lambda i: i[1].name)
            },
            fetches=tensors,
            outputs=names,
            defaults={
                alias: tensor_util.MakeNdarray(proto)
                for alias, proto in definition.defaults.items()
            },
            # TensorFlow feeds arrays without copying them: what keeps one would hold shared memory
            # that the next batch writes over.
            copies=bool(self.facts[signature].effect),
        )


class _Call:
    """A signature with its tensors looked up, so that each run only feeds and fetches."""

    __slots__ = ("copies", "defaults", "feeds", "fetches", "outputs")

    def __init__(
        self,
        feeds: dict[str, Any],
        fetches: list[Any],
        outputs: list[str],
        defaults: dict[str, np.ndarray],
        copies: bool,
    ) -> None:
        self.feeds = feeds
        self.fetches = fetches
        self.outputs = outputs
        self.defaults = defaults
        self.copies = copies


class _InThisThread:
    """A session as `Saver.restore` uses it, whose runs take the calling thread: what they start
    has that thread's priority."""

    def __init__(self, session: Any) -> None:
        import tensorflow as tf

        self.graph = session.graph
        self._session = session
        self._options = tf.compat.v1.RunOptions(inter_op_thread_pool=-1)

    def run(self, fetches: Any, feeds: Any = None) -> Any:
        return self._session.run(fetches, feeds, options=self._options)


SessionRun = Callable[[dict[Any, np.ndarray], list[Any]], list[np.ndarray]]


def _session_run(session: Any) -> SessionRun:
    """The fastest way to run this session: TensorFlow's private call if it works in another, small
    one, else the public call."""
    import tensorflow as tf

    # The calling thread runs the graph: no hand-over to a pool, which costs more than a small
    # model does. Deadlines are kept by the caller, who can do more than wait.
    options = tf.compat.v1.RunOptions(inter_op_thread_pool=-1)
    try:
        from tensorflow.python.client import pywrap_tf_session as private

        buffer = private.TF_NewBufferFromString(options.SerializeToString())
        private_run = private.TF_SessionRun_wrapper

        def runs(handle: Any) -> SessionRun:
            def run(feeds: dict[Any, np.ndarray], fetches: list[Any]) -> list[np.ndarray]:
                results: list[np.ndarray] = private_run(
                    handle,
                    buffer,
                    {t._as_tf_output(): v for t, v in feeds.items()},
                    [t._as_tf_output() for t in fetches],
                    [],
                    None,
                )
                return results

            return run

        with tf.Graph().as_default(), tf.compat.v1.Session(config=session._config) as trial:
            probe = tf.constant(1.0)
            trial.run(probe)
            runs(trial._session)({}, [probe])
        return runs(session._session)
    except Exception:
        return lambda feeds, fetches: session.run(fetches, feeds, options=options)


def _array(result: Any) -> np.ndarray:
    """What a run gave, as an array: a string without dimensions comes as plain bytes."""
    if isinstance(result, bytes):
        array = np.empty((), object)
        array[()] = result
        return array
    return result if isinstance(result, np.ndarray) else np.asarray(result)


def _copy(message: Any) -> Any:
    """A message by itself: one that is part of another keeps the whole of that in memory."""
    return type(message).FromString(message.SerializeToString())


@contextmanager
def _translated() -> Iterator[None]:
    """Whatever is raised is a ServingError."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        raise translate(error) from error


def translate(error: Exception) -> ServingError:
    """TensorFlow's exceptions as ours: same code, same text."""
    if isinstance(error, UnicodeDecodeError):
        # A message with bytes that are no UTF-8 fails to become a Python string on its way.
        return ServingError(Code.INVALID_ARGUMENT, error.object.decode(errors="replace"))
    code = getattr(error, "error_code", None)
    message = getattr(error, "message", None) or str(error) or type(error).__name__
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
    """Refuse what is no SavedModel with the texts of TensorFlow Serving's loader."""
    present = set(os.listdir(path)) if os.path.isdir(path) else set()
    if present & {"saved_model.pb", "saved_model.pbtxt"}:
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


def _tensor_info(info: Any) -> TensorInfo:
    from tensorflow.core.framework import types_pb2

    # DT_FLOAT -> float, DT_INT64 -> int64 ...: what `DataTypeString` prints.
    dtype = types_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower()
    if info.tensor_shape.unknown_rank:
        return TensorInfo(dtype, None, info.name)
    return TensorInfo(dtype, tuple(d.size for d in info.tensor_shape.dim), info.name)
