"""What the parts exchange: a call, the steps that it takes, and methods for both clients.

A method is written once, as a function that returns a ``Call`` or a generator of calls and
pauses (``Flow``). ``Operation`` makes of it a plain method of a sync resource and an awaitable
one of an async resource.
"""

import functools
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload
from urllib.parse import quote

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """A form with one file. The file is opened anew for each try."""

    file: Path
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One logical request; it may take several tries.

    Attributes:
        method: HTTP method.
        path: With its parameters filled in and quoted.
        answer: What the answer is made into; ``bytes`` and ``str`` take the body as it is.
        query: None values are left out.
        json: Body; None for no body.
        headers: Of this call; None values are left out.
        upload: Form instead of a JSON body.
        into: File that takes the body of the answer.
        repeatable: A second try does no harm, although the first may have been carried out.
        keyed: All tries carry one ``Idempotency-Key``.
        deadline: All tries carry ``X-Deadline-Ms``.
        timeout_s: For all tries together; None for the client's.
    """

    method: str
    path: str
    answer: type[T]
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    upload: Upload | None = None
    into: Path | None = None
    repeatable: bool = False
    keyed: bool = False
    deadline: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """A step: one try. The client answers with ``Reply`` or ``ConnectionFailed``."""

    call: Call[Any]
    headers: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """A step: a pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Flow = Generator[Call[Any] | Sleep, Any, T]
Steps = Generator[Send | Sleep, Any, T]


class Runner(Protocol):
    """Carries out a flow: returns its value, or an awaitable of it."""

    def run(self, flow: Flow[Any]) -> Any:
        """Carries out a flow."""
        ...


class SyncResource:
    """Methods that return."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner


class AsyncResource:
    """Methods that are awaited."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner


class Operation(Generic[P, T]):
    """A method of sync and async resources; ``id`` is the operation of the document, if any."""

    def __init__(
        self, function: Callable[Concatenate[Any, P], Flow[T]], id: str | None = None
    ) -> None:
        self.id = id
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: SyncResource, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: AsyncResource, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """The bound method."""
        if instance is None:
            return self

        @functools.wraps(self.function)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return instance.runner.run(self.function(instance, *args, **kwargs))

        return method


def operation(
    id: str,
) -> Callable[[Callable[Concatenate[Any, P], Call[T]]], Operation[P, T]]:
    """Makes a method of a function that returns the call of one operation."""

    def decorate(function: Callable[Concatenate[Any, P], Call[T]]) -> Operation[P, T]:
        def as_flow(instance: Any, /, *args: P.args, **kwargs: P.kwargs) -> Flow[T]:
            value: T = yield function(instance, *args, **kwargs)
            return value

        functools.update_wrapper(as_flow, function)
        return Operation(as_flow, id)

    return decorate


def filled(pattern: str, *parts: object) -> str:
    """The path with each ``{}`` replaced, quoted."""
    return pattern.format(*(quote(str(part), safe="") for part in parts))


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
