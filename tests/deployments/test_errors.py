"""Errors keep their facts across a process hop, and each has a status and a code."""

import pickle
from collections.abc import Iterator
from types import ModuleType

import pytest

from deployments import errors
from deployments.jobs import errors as job_errors
from registry import errors as registry_errors


def below(base: type, module: ModuleType) -> Iterator[type]:
    """The classes of a module that are derived from ``base``, in the order of their definition."""
    for child in base.__subclasses__():
        if child.__module__ == module.__name__:
            yield child
            yield from below(child, module)


REQUEST_ERRORS = [
    errors.RequestError,
    *below(errors.RequestError, errors),
    *below(errors.ClientError, job_errors),
]
REGISTRY_ERRORS = [
    registry_errors.RegistryError,
    *below(registry_errors.RegistryError, registry_errors),
]


@pytest.mark.parametrize("cls", REQUEST_ERRORS)
def test_request_errors_survive_pickle(cls: type[errors.RequestError]) -> None:
    again = pickle.loads(pickle.dumps(cls("sentence", {"retry_after_s": 3, "allow": "POST"})))
    assert type(again) is cls
    assert again.message == "sentence"
    assert again.context["retry_after_s"] == 3
    assert all(isinstance(value, str) for value in again.headers().values())


@pytest.mark.parametrize("cls", REGISTRY_ERRORS)
def test_registry_errors_survive_pickle(cls: type[registry_errors.RegistryError]) -> None:
    again = pickle.loads(pickle.dumps(cls("sentence")))
    assert type(again) is cls
    assert again.message == "sentence"


@pytest.mark.parametrize("cls", [*REQUEST_ERRORS, *REGISTRY_ERRORS])
def test_status_and_code_are_in_range(cls: type) -> None:
    assert 400 <= cls.status <= 599
    assert cls.code[0] == "E"
    assert cls.code[1:].isdigit()


def tree(base: type, module: ModuleType, indent: str = "") -> Iterator[str]:
    children = [kind for kind in base.__subclasses__() if kind.__module__ == module.__name__]
    for child in children:
        last = child is children[-1]
        # A family, which is never raised, gives neither status nor code.
        is_family = child in (errors.ClientError, errors.RetryLater, errors.ServerError)
        facts = "" if is_family else f" {child.status} {child.code}"
        yield f"{indent}{'└' if last else '├'}── {child.__name__}{facts}"
        yield from tree(child, module, indent + ("    " if last else "│   "))


@pytest.mark.parametrize(
    ("module", "base"),
    [
        (errors, errors.RequestError),
        (job_errors, errors.ClientError),
        (registry_errors, registry_errors.RegistryError),
    ],
)
def test_the_tree_at_the_top_of_the_file_is_drawn_from_the_classes(
    module: ModuleType, base: type
) -> None:
    drawn = "\n".join([base.__name__, *tree(base, module)])
    assert module.__doc__ is not None
    assert f"\n{drawn}\n" in module.__doc__
