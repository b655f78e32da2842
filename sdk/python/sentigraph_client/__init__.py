"""Client of a sentigraph server: ``Client`` for plain code, ``AsyncClient`` for asyncio.

Both have the same methods. ``errors`` has everything that a call can end with, ``webhooks`` the
check of messages that the server sends.
"""

from sentigraph_client import errors, webhooks
from sentigraph_client._client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "errors", "webhooks"]
