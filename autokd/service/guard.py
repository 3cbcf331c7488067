"""What every request passes before a route sees it: its Host and Origin, the mode of the service, and its token.

All methods are treated alike. The token comes in the `Authorization` header alone, never in a cookie or an address, so
another site can make a browser send a request, but none that is answered.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import HTTPException, Request, Security, params
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autokd.errors import InputError
from autokd.service.refusals import refuse
from autokd.service.settings import Settings
from autokd.service.tokens import Caller, Role, Tokens

__all__ = ["READING", "Guard", "SafeHeaders", "allow"]

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""

_BEARER = HTTPBearer(auto_error=False)  # for the description alone: `Guard` has looked at the token by then
_OPEN = re.compile(r"/(health/(live|ready)|new|searches/[^/]+(/trials/[^/]+)?|static/[^/]+)?")
"""Paths without a token: for what watches processes, and the page's shell, in which there are no data."""

_SAFE: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Gives each response the headers that make browsers careful, where it does not have them itself.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)


class Guard:
    """Lets a request through to the app if its Host, its Origin, the mode of the service and its token allow it.

    The request's state has the `caller`, and `may_stay`, which says whether the token is still one, for answers that
    take long.

    Args:
        app: What is guarded.
        settings: Allowed hosts and origins, and the mode.
        tokens: Tokens that are valid.
    """

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens) -> None:
        self._app, self._settings, self._tokens = app, settings, tokens
        self._hosts = {host.lower() for host in settings.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = Headers(scope=scope)
        if _without_port(headers.get("host", "")) not in self._hosts:
            await refuse(400, "the service may not be called by this Host")(scope, receive, send)
        elif any(origin not in self._settings.origins for origin in headers.getlist("origin")):
            await refuse(403, "scripts of this Origin may not call the service")(scope, receive, send)
        elif self._settings.read_only and scope["method"] not in READING:
            await refuse(403, "this service only reads")(scope, receive, send)
        elif _OPEN.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
        else:
            await self._behind(scope, headers)(scope, receive, send)

    def _behind(self, scope: Scope, headers: Headers) -> ASGIApp:
        """The app, if the request has a token; otherwise a refusal."""
        try:
            caller = self._caller(headers)
        except InputError:  # which names the file
            return refuse(503, "the service's tokens cannot be read: remove their file, and make new ones")
        if caller is None:
            bearer = {"WWW-Authenticate": "Bearer"}
            return refuse(401, "a valid token is needed: `Authorization: Bearer TOKEN`", bearer)
        state = scope.setdefault("state", {})
        state["caller"], state["may_stay"] = caller, lambda: self._may_stay(caller, headers)
        return self._app

    def _may_stay(self, caller: Caller, headers: Headers) -> bool:
        with suppress(InputError):
            return self._caller(headers) == caller
        return False

    def _caller(self, headers: Headers) -> Caller | None:
        given = headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return self._tokens.caller(token.strip()) if scheme.lower() == "bearer" else None


def allow(role: Role) -> params.Depends:
    """What a route depends on that needs this role: the check that its caller has it."""

    async def check(request: Request, described: Annotated[object, Security(_BEARER)]) -> None:
        caller: Caller = request.state.caller
        if not caller.may(role):
            raise HTTPException(403, f"this needs a token of the role {role!r}, but yours has {caller.role!r}")

    return params.Depends(check)


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]*$", "", host).lower()
