"""Every error that this package raises on purpose, in one tree.

::

    DiscoveryError
    ├── UsageError (ValueError)          the user asked for something that cannot be; exit code 2
    │   ├── ProblemError                 a problem plugin is missing, malformed or misbehaves
    │   ├── ConfigError                  a setting is out of range, unknown or contradictory
    │   ├── UnknownRun (LookupError)     no stored run has that id
    │   ├── InsufficientIsolation        a sandbox holds less here than was asked for
    │   ├── MissingComponent             an extra, a program or a service is not installed
    │   ├── LicenceError                 what a model wrote may not be trained on, or nobody says that it may
    │   ├── WeightsError                 a folder of weights is not whole, or does not fit what is served
    │   └── ArchiveError                 a folder is no whole archive of runs, or does not fit what is stored
    ├── StorageError                     the database cannot do what was asked
    │   ├── StorageFull                  no room left on the device
    │   ├── SchemaMismatch               the database was written by another version
    │   └── LeaseLost                    another process has taken the chain over
    ├── SandboxError                     the sandbox failed, not the program in it; retried, never charged
    │   └── SandboxUnavailable           none can be started; the run waits for it
    ├── GeneratorError                   the generator failed
    │   ├── GeneratorUnavailable         it cannot be reached or stalls; the run waits for it
    │   ├── GeneratorRefused             it refuses for good: wrong key, unknown model, bad parameter
    │   └── ServerFailed                 a model server of ours did not start, died, or did not take new weights
    ├── ScoringError                     the scorer's process failed, not the candidate
    ├── TrainingFailed                   post-training diverged, or ran out of memory
    ├── RunBusy                          another live process holds this run
    ├── DataError (ValueError)           a value is not plain finite data
    ├── Invalid                          raised by scorers: the solution breaks the problem's rules
    └── ProgramFailed                    the candidate's program crashed, ran out of time, ...

Two things are never errors: a failed evaluation, which is a stored record with a typed failure, and a
spent budget, which is how a run ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DiscoveryError(Exception):
    """The base of all errors raised on purpose."""


class UsageError(DiscoveryError, ValueError):
    """The user asked for something that cannot be; the message names value, expectation and fix."""


class ProblemError(UsageError):
    """A problem plugin is missing, malformed or misbehaves."""


class ConfigError(UsageError):
    """A setting is out of range, unknown or contradicts another."""


class UnknownRun(UsageError, LookupError):
    """No stored run has that id."""


class InsufficientIsolation(UsageError):
    """A sandbox was found to hold less on this host than the problem or the user asks for."""


class MissingComponent(UsageError):
    """An optional package, a program or a service is not there; the message says how to get it."""


class LicenceError(UsageError):
    """What a model wrote may not be trained on, or nobody says that it may; the message has the line that would."""


class WeightsError(UsageError):
    """A folder of weights is not whole, or does not fit the model that is served."""


class ArchiveError(UsageError):
    """A folder is no whole archive of runs, or holds what contradicts the storage that it is imported into."""


class StorageError(DiscoveryError):
    """The database cannot do what was asked."""


class StorageFull(StorageError):
    """The database could not grow: the device is full. Nothing was half-written."""


class SchemaMismatch(StorageError):
    """The database was written by another version of this package."""


class LeaseLost(StorageError):
    """Another process holds the chain now; this one's writes to it are refused."""


class SandboxError(DiscoveryError):
    """The sandbox failed, not the program in it. Retried, never charged to a candidate."""


class SandboxUnavailable(SandboxError):
    """No sandbox can be started, after several tries; worth waiting for."""


class GeneratorError(DiscoveryError):
    """The generator failed."""


class GeneratorUnavailable(GeneratorError):
    """The generator cannot be reached, stalls or is overloaded; worth waiting for.

    Args:
        message: What happened.
        is_overload: Whether it answers that it has too much to do: it lives, and will take requests again.
    """

    def __init__(self, message: str, *, is_overload: bool = False) -> None:
        super().__init__(message)
        self.is_overload = is_overload


class GeneratorRefused(GeneratorError):
    """The generator refuses for good: wrong key, unknown model, parameter out of range."""


class ServerFailed(GeneratorError):
    """A model server that this package looks after did not start, died, or did not take new weights."""


class ScoringError(DiscoveryError):
    """The process that runs the scorer failed. Infrastructure, unless the scorer itself raised."""


class TrainingFailed(DiscoveryError):
    """Post-training cannot go on: its loss is no number any more, or the GPU's memory ran out."""


class RunBusy(DiscoveryError):
    """Another live process holds the leases of this run."""


class DataError(DiscoveryError, ValueError):
    """A value is not plain finite data, or bytes do not decode to it."""


class Invalid(DiscoveryError):
    """Raise in a scorer: the solution breaks the problem's rules.

    The reason is stored as the evaluation's failure and shown to the model.

    Args:
        reason: One sentence that names what is wrong, with the numbers.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProgramFailed(DiscoveryError):
    """The candidate's program failed while a scorer used it.

    A scorer may catch this to score partial success; uncaught, it fails the evaluation.

    Args:
        kind: A value of ``records.FailureKind``.
        message: One line for people and for the model.
        detail: Traceback or captured output, when there is any.
    """

    def __init__(self, kind: str, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.detail = detail


@contextmanager
def boundary(what: str, wrap: type[DiscoveryError]) -> Iterator[None]:
    """Attribute whatever escapes third-party code to the boundary that it crossed.

    Errors of this package pass unchanged, as do cancellation and exits.

    Args:
        what: What was being done, as the start of the message: ``"loading problem 'x'"``.
        wrap: The error to raise from the original one.

    Raises:
        DiscoveryError: ``wrap``, from the original exception.
    """
    try:
        yield
    except DiscoveryError:
        raise
    except Exception as error:
        raise wrap(f"{what}: {type(error).__name__}: {error}") from error


def cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is one of ours, else just the first."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        inner: list[BaseException] = list(first.exceptions)
        first = next((e for e in inner if isinstance(e, DiscoveryError)), inner[0])
    return first
