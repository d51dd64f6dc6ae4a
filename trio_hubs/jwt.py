"""JSON Web Tokens: an ``authenticate`` that finds the user in a signed bearer token; the extra ``jwt``.

The server chooses what a token must be, never the token. A request whose token is wrong in any way has no user. No
token is ever logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import time
from typing import Any, TypeAlias, cast

from joserfc import jwt
from joserfc.errors import InvalidClaimError, JoseError
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

from .connections.http import Request
from .connections.users import User
from .logs import get_logger

logger = get_logger(__name__)

Keys: TypeAlias = Key | KeySet | Mapping[str, Any]
"""A key or a set of keys of joserfc's, or a JWK or JWKS as a dict."""

MAXIMUM_SIZE = 8 * 1024


class JwtAuthenticator:
    """Finds out who makes a request by its bearer token, a signed JSON Web Token.

    The user's claims are the token's, and it expires with the token, ``leeway`` later. A token is refused when it is
    not signed by one of the keys with one of the algorithms; when it has expired, or has no ``exp``; when its ``nbf``
    or ``iat`` is in the future; when it is for another audience or from another issuer; when it does not name its
    user; and when it has more than 8 KiB, or its header more than 512 bytes. The reason is logged at level
    INFO, and the request has no user.

    Args:
        key: Verifies the signatures: a key or key set of joserfc's, or a JWK or JWKS as a dict; or a function that
            gives one of these for each token, for keys that change. A token's ``kid`` chooses from a set.
        algorithms: The algorithms that are allowed, such as ``["RS256"]``.
        audience: The audience that tokens must name: this server, or several names of it; ``None`` for any.
        issuer: The issuer of the tokens, or several that are allowed; ``None`` for any that signs with the key.
        leeway: Seconds by which the issuer's clock may differ from ours; clients are not told of them.
        user_id: The claim that becomes the user's id.

    Raises:
        ValueError: A choice that would let in nobody, or too many; says which.
        TypeError: The key is something else.
        JoseError: The JWK or JWKS is malformed.

    Example:
        ::

            authenticate = JwtAuthenticator(jwks, algorithms=["RS256"], audience="chat", issuer="https://id.example")
            app = HubApp(authenticate=authenticate)
    """

    def __init__(
        self,
        key: Keys | Callable[[], Keys],
        *,
        algorithms: str | Iterable[str],
        audience: str | Iterable[str] | None,
        issuer: str | Iterable[str] | None,
        leeway: int = 30,
        user_id: str = "sub",
    ) -> None:
        allowed = _texts("algorithms", algorithms)
        for name in allowed:
            if name == "none" or name not in JWSRegistry.algorithms:
                raise ValueError(f"'{name}' is no algorithm that signs")
        if callable(key):
            self._key = key
        else:
            keys = _imported(key)
            _check(keys, allowed)
            self._key = lambda: keys
        # Issuers put headers of their own into tokens, which are to be ignored unless they are marked as critical.
        self._registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
        options: dict[str, ClaimsOption] = {"exp": {"essential": True}}
        if audience is not None:
            options["aud"] = {"essential": True, "values": _texts("audience", audience)}
        if issuer is not None:
            options["iss"] = {"essential": True, "values": _texts("issuer", issuer)}
        options.setdefault(user_id, {"essential": True})
        self._claims = JWTClaimsRegistry(now=lambda: int(time()), leeway=leeway, **options)
        self._user_id = user_id

    def __call__(self, request: Request) -> User | None:
        """The user that a request's token names; ``None`` where it has no good one.

        Raises:
            Exception: The function that gives the keys failed.
        """
        token = request.bearer_token
        if token is None:
            return None
        if len(token) > MAXIMUM_SIZE:
            logger.info("a token was refused: it has %d characters", len(token))
            return None
        keys = _imported(self._key())
        try:
            claims = jwt.decode(token, keys, registry=self._registry).claims
            self._claims.validate(claims)
            user_id = claims[self._user_id]
            if not isinstance(user_id, str):
                raise InvalidClaimError(self._user_id, f"Claim '{self._user_id}' must be a text")
        # joserfc raises all but the first for text that is not UTF-8 and for values of unexpected types.
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            logger.info("a token was refused: %s", str(error))
            return None
        leeway = self._claims.leeway
        return User(user_id, claims=claims, expires_at=claims["exp"] + leeway, leeway=leeway)


def _texts(what: str, texts: str | Iterable[str]) -> list[str]:
    """One or several texts, none of them empty: an empty one is a forgotten setting."""
    several = [texts] if isinstance(texts, str) else list(texts)
    if not several or not all(several):
        raise ValueError(f"{what}: there must be one, and none may be empty")
    return several


def _imported(keys: object) -> Key | KeySet:
    if isinstance(keys, OctKey | RSAKey | ECKey | OKPKey | KeySet):
        return keys
    if isinstance(keys, Mapping):
        return KeySet.import_key_set(cast("Any", keys)) if "keys" in keys else import_key(dict(keys))
    raise TypeError(
        f"the key is of type {type(keys).__name__}: make it with joserfc.jwk.import_key, or give a JWK or JWKS "
        "as a dict"
    )


def _check(keys: Key | KeySet, algorithms: list[str]) -> None:
    """Refuse algorithms that the keys are not for."""
    for name in algorithms:
        if not JWSRegistry.filter_algorithms(keys, [name]):
            raise ValueError(f"there is no key for the algorithm '{name}'")
    kinds = {key.key_type for key in (keys if isinstance(keys, KeySet) else [keys])}
    if "oct" in kinds and len(kinds) > 1:
        raise ValueError("secret keys do not belong into a set with public ones")
