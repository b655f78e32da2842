"""Errors keep their facts across a process hop, and each has a status and a code."""

import pickle

import pytest

from deployments import errors
from registry import errors as registry_errors

REQUEST_ERRORS = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.RequestError)
]
REGISTRY_ERRORS = [
    cls
    for cls in vars(registry_errors).values()
    if isinstance(cls, type) and issubclass(cls, registry_errors.RegistryError)
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


def test_the_tree_at_the_top_of_the_file_is_complete() -> None:
    assert errors.__doc__ is not None
    for cls in REQUEST_ERRORS:
        assert cls.__name__ in errors.__doc__
        if cls is not errors.RequestError:
            assert f"{cls.status} {cls.code}" in errors.__doc__
