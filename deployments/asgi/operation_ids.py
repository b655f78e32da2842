"""Operation ids of the OpenAPI document. Clients are named after them, so none ever changes."""

from fastapi.routing import APIRoute


def operation_id(route: APIRoute) -> str:
    """The name of the route's function; a test keeps the list of all of them."""
    return route.name
