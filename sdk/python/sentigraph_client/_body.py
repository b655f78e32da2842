"""Base of all bodies: immutable, open to what newer servers add, with the answer's headers."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, PrivateAttr


class Body(BaseModel):
    """A JSON body. Fields that this version does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    _headers: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def response_headers(self) -> Mapping[str, str]:
        """Headers of the answer by lower-case name, as ``etag``; empty for a part of a body."""
        return self._headers
