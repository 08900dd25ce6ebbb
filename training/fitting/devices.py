"""What Keras computes on: precision, memory, and one network on several devices or machines.

The backend is Keras' own choice (``KERAS_BACKEND``, TensorFlow unless told otherwise). With TensorFlow several GPUs of
one machine train together through `MirroredStrategy`; with JAX any devices, also of several machines, through
`keras.distribution.DataParallel`. (`MultiWorkerMirroredStrategy` does not work with Keras 3: keras-team/keras#20585.)
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from core.errors import TrainingError
from training.pipeline.shards import Share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.config import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """Processes that train one network together, each started with the same data and configuration.

    Attributes:
        coordinator: ``host:port`` at which the first of them listens.
        count: how many there are.
        number: of this one, from 0.
    """

    coordinator: str
    count: int
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """What there is to compute on.

    Attributes:
        told: one line for a person.
        share: of every batch, what is this process's.
        count: of devices that train together, in all processes.
    """

    told: str
    share: Share
    count: int = 1

    @property
    def needs_twin(self) -> bool:
        """Whether a network that is trained is spread over devices, and must be copied to one to be asked."""
        return self.count > 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes results and talks."""
        return self.share.process == 0

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Within it, models are built and fitted on all devices."""
        if self.count < 2:
            yield
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf  # noqa: PLC0415 (not with another backend)

            with tf.distribute.MirroredStrategy().scope():
                yield
        else:
            # Each process makes its own share of a batch.
            with _distribution(keras.distribution.DataParallel(auto_shard_dataset=False)):
                yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within it, and within `training`, models are built and asked on this process's own first device."""
        with contextlib.nullcontext() if keras.backend.backend() == "tensorflow" else _distribution(None):
            yield

    def agree(self, value: int) -> bool:
        """Whether all processes say the same number here; each of them must come to this point."""
        if self.share.processes < 2:
            return True
        from jax.experimental import multihost_utils  # noqa: PLC0415 (not with another backend)

        said = multihost_utils.process_allgather(np.array([value]))
        return bool((np.asarray(said) == value).all())

    def disband(self) -> None:
        """Nothing is trained together any more: from here on each process is by itself, and may end when it likes."""
        if self.share.processes > 1:
            import jax  # noqa: PLC0415 (not with another backend)

            jax.distributed.shutdown()


@contextlib.contextmanager
def _distribution(wanted: keras.distribution.DataParallel | None) -> Iterator[None]:
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(wanted)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Within it, what does not fit in memory is a `TrainingError`, whatever the backend calls it.

    Raises:
        TrainingError: something does not fit.
    """
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:
        # TensorFlow has a class of its own for it, JAX a text.
        is_theirs = type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)
        if not isinstance(error, MemoryError) and not is_theirs:
            raise
        raise TrainingError(
            "The network does not fit in memory: choose a smaller batch_size, a smaller input, or another network."
        ) from error


def prepare_devices(precision: Precision, *, processes: Processes | None = None) -> Devices:
    """Set Keras up; once, before the first network is built.

    Raises:
        TrainingError: the backend cannot train on several machines, or these do not find each other.
    """
    keras.config.set_dtype_policy(str(precision))
    backend = keras.backend.backend()
    if processes is not None and backend != "jax":
        raise TrainingError("Several processes train together with KERAS_BACKEND=jax only.")
    if backend == "tensorflow":
        return _tensorflow()
    if backend == "jax":
        return _jax(processes)
    raise TrainingError(f"KERAS_BACKEND is {backend!r}; training takes tensorflow or jax.")


def _tensorflow() -> Devices:
    import tensorflow as tf  # noqa: PLC0415 (not with another backend)

    # What it warns of is for those who write networks: here each is built once and asked in one shape, or two.
    tf.get_logger().setLevel("ERROR")
    found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        # Else TensorFlow takes all of a GPU's memory, whatever it needs.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    where = f"{len(found)} GPU{'s' if len(found) > 1 else ''}" if found else "the processor"
    return Devices(told=f"TensorFlow on {where}", share=Share(), count=max(1, len(found)))


def _jax(processes: Processes | None) -> Devices:
    # As above; JAX reads it when its first device is used.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax  # noqa: PLC0415 (not with another backend)

    if processes is not None:
        try:
            # For processors; GPUs bring their own.
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            keras.distribution.initialize(processes.coordinator, processes.count, processes.number)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"The {processes.count} processes did not find each other at {processes.coordinator}."
            ) from error
    devices = jax.device_count()
    platform = jax.default_backend()
    where = "the processor" if platform == "cpu" and devices == 1 else f"{devices} × {platform}"
    several = f" in {processes.count} processes" if processes is not None else ""
    share = Share() if processes is None else Share(process=processes.number, processes=processes.count)
    return Devices(told=f"JAX on {where}{several}", share=share, count=devices)
