"""JSON Web Tokens: the good ones name their user, and every other one is nobody's, logged without the token."""

import hmac
import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey
from trio.testing import MockClock

import trio_hubs.jwt
from tests.server.app_peer import open_app
from trio_hubs import Hub, HubApp, HubOptions, Request, User
from trio_hubs.connections.http import CaseInsensitive
from trio_hubs.jwt import JwtAuthenticator

NOW = 1_000_000
SECRET = OctKey.import_key("0123456789abcdef0123456789abcdef", {"kid": "secret"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"})
OTHER_SECRET = OctKey.import_key("another secret, of just the right size")
OTHER_RSA = RSAKey.generate_key(2048)
PUBLIC: dict[str, Any] = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
CLAIMS: dict[str, Any] = {"sub": "ann", "aud": "chat", "iss": "https://id.example", "exp": NOW + 600}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The time is NOW, until this sets it."""

    def set_time(now: float) -> None:
        monkeypatch.setattr(trio_hubs.jwt, "time", lambda: now)

    set_time(NOW)
    return set_time


def authenticator(
    key: Any = SECRET,
    algorithms: Any = "HS256",
    *,
    audience: Any = "chat",
    issuer: Any = "https://id.example",
    **options: Any,
) -> JwtAuthenticator:
    return JwtAuthenticator(key, algorithms=algorithms, audience=audience, issuer=issuer, **options)


def sign(key: Key = SECRET, alg: str = "HS256", *, header: Any = {}, **claims: Any) -> str:  # noqa: B006
    """A token; a claim that is None is left out."""
    kept = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode({"alg": alg, **header}, kept, key, algorithms=[alg])


def encoded(value: Any) -> str:
    """A part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_with(header: Any) -> str:
    """A token with a header that joserfc would not make."""
    content = f"{encoded(header)}.{encoded(CLAIMS)}"
    return f"{content}.{encoded(hmac.digest(SECRET.raw_value, content.encode(), 'sha256'))}"


def request(token: str | None) -> Request:
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    return Request(headers=CaseInsensitive(headers))


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture) -> Callable[[JwtAuthenticator, str, str], None]:
    """Asserts that a token is refused for a reason, which is logged in one line, without the token."""
    caplog.set_level(logging.DEBUG)

    def check(authenticate: JwtAuthenticator, token: str, reason: str) -> None:
        caplog.clear()
        assert authenticate(request(token)) is None
        (record,) = caplog.records
        assert (record.levelname, record.name) == ("INFO", "trio_hubs.jwt")
        assert reason in record.message
        assert "\n" not in record.message
        assert not any(part in record.message for part in token.split(".") if len(part) > 3)

    return check


Refused = Callable[[JwtAuthenticator, str, str], None]
Clock = Callable[[float], None]

# ---- good tokens


@pytest.mark.parametrize(
    ("alg", "key", "accepted"),
    [
        ("HS256", SECRET, SECRET),
        ("HS256", SECRET, SECRET.as_dict(private=True)),
        ("HS512", SECRET, KeySet([SECRET, OTHER_SECRET])),
        ("RS256", RSA, RSA),
        ("RS256", RSA, RSAKey.import_key(RSA.as_pem(private=False))),
        ("RS256", RSA, PUBLIC),
        ("PS256", RSA, PUBLIC),
        ("ES256", EC, EC),
        ("ES256", EC, PUBLIC),
        ("ES256", EC, KeySet.import_key_set(PUBLIC)),  # type: ignore[arg-type]
        ("Ed25519", OKP, OKP.as_dict(private=False)),
    ],
)
def test_a_good_token_names_its_user(alg: str, key: Key, accepted: Any) -> None:
    token = sign(key, alg, header={"kid": key.kid}, role="admin")
    assert authenticator(accepted, [alg])(request(token)) == User(
        "ann", claims={**CLAIMS, "role": "admin"}, expires_at=NOW + 630
    )


@pytest.mark.parametrize("leeway", [0, 30])
async def test_clients_are_told_of_the_tokens_own_lifetime(
    leeway: int, autojump_clock: MockClock, clock: Clock
) -> None:
    now = time.time()
    clock(now)
    app = HubApp(authenticate=authenticator(leeway=leeway), options=HubOptions(authentication_refresh=True))
    app.add_hub("/hub", Hub)
    async with open_app(app) as served:
        token = sign(exp=int(now) + 100)
        connection = await served.negotiate("/hub", Authorization=f"Bearer {token}")
        for target in ("/hub/negotiate?negotiateVersion=1", f"/hub/refresh?id={connection}"):
            answer = await served.ask("POST", target, Authorization=f"Bearer {token}")
            assert json.loads(answer.body)["tokenLifetimeSeconds"] in (98, 99, 100)


def test_no_token_is_nobody_and_nothing_to_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert authenticator()(request(None)) is None
    assert caplog.records == []


def test_a_token_in_the_query_counts() -> None:
    user = authenticator()(Request(query=CaseInsensitive([("access_token", sign())])))
    assert user is not None
    assert user.id == "ann"


def test_headers_of_the_issuers_own_are_ignored_unless_they_are_critical(refused: Refused) -> None:
    header = {"alg": "HS256", "typ": "at+jwt", "kid": "any", "nonce": "abc"}
    assert authenticator()(request(sign_with(header)))
    refused(authenticator(), sign_with({**header, "crit": ["nonce"]}), "Unsupported ['nonce'] in header")


def test_a_header_that_asks_for_another_key_is_not_heeded(refused: Refused) -> None:
    forger = ECKey.generate_key("P-256")
    token = sign(forger, "ES256", header={"jwk": forger.as_dict(private=False)})
    refused(authenticator(EC, "ES256"), token, "bad_signature")


# ---- signatures


@pytest.mark.parametrize(
    ("accepted", "algorithms", "token", "reason"),
    [
        (SECRET, "HS256", sign(OTHER_SECRET), "bad_signature"),
        (RSA, "RS256", sign(OTHER_RSA, "RS256"), "bad_signature"),
        (PUBLIC, ["RS256", "ES256"], sign(OTHER_RSA, "RS256", header={"kid": "rsa"}), "bad_signature"),
        (PUBLIC, ["RS256", "ES256"], sign(RSA, "RS256", header={"kid": "other"}), "No key for kid: 'other'"),
        (PUBLIC, ["RS256", "ES256"], sign(RSA, "RS256", header={"kid": "ec"}), "requires 'RSA' key"),
        (PUBLIC, ["RS256", "ES256"], sign(RSA, "RS256"), "No key for kid: 'None'"),
        (PUBLIC, "ES256", sign(RSA, "RS256", header={"kid": "rsa"}), "'RS256' is not allowed"),
        (SECRET, "HS256", sign(SECRET, "HS512"), "'HS512' is not allowed"),
    ],
)
def test_a_signature_that_is_not_by_a_key_of_ours(
    accepted: Any, algorithms: Any, token: str, reason: str, refused: Refused
) -> None:
    refused(authenticator(accepted, algorithms), token, reason)


@pytest.mark.filterwarnings("ignore:This key should not be used")
@pytest.mark.parametrize("encoding", ["PEM", "DER"])
def test_the_public_key_is_no_secret(encoding: Any, refused: Refused) -> None:
    """The classic confusion: the text of the public key, which everybody has, as HMAC's secret."""
    public = RSA.as_bytes(encoding, private=False)
    forger = OctKey(public, public)
    token = sign(forger)
    refused(authenticator(RSA, "RS256"), token, "'HS256' is not allowed")
    both = KeySet([RSA, SECRET])  # a provider's set may hold what the constructor would refuse
    token = sign(forger, header={"kid": "rsa"})
    refused(authenticator(lambda: both, ["RS256", "HS256"]), token, "requires 'oct' key")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", "HS1", None, 5, [], {}])
def test_a_token_without_an_algorithm_of_ours(alg: Any, refused: Refused) -> None:
    for signature in "", encoded(b"signature"):
        refused(authenticator(), f"{encoded({'alg': alg})}.{encoded(CLAIMS)}.{signature}", "")


def test_a_line_break_in_a_token_makes_none_in_the_log(refused: Refused) -> None:
    token = sign(RSA, "RS256", header={"kid": "a\nINFO all is well"})
    refused(authenticator(PUBLIC, "RS256"), token, r"a\nINFO all is well")


# ---- claims


@pytest.mark.parametrize(
    ("claims", "options", "reason"),
    [
        ({"aud": "other"}, {}, "Invalid claim: 'aud'"),
        ({"aud": ["other", "others"]}, {}, "Invalid claim: 'aud'"),
        ({"aud": "cha"}, {}, "Invalid claim: 'aud'"),
        ({"aud": "chat2"}, {}, "Invalid claim: 'aud'"),
        ({"aud": []}, {}, "Invalid claim: 'aud'"),
        ({"aud": {"chat": 1}}, {}, "'aud' must be"),
        ({"aud": None}, {}, "Missing claim: 'aud'"),
        ({"aud": "other"}, {"audience": ["chat", "games"]}, "Invalid claim: 'aud'"),
        ({"iss": "https://id.example/"}, {}, "Invalid claim: 'iss'"),
        ({"iss": None}, {}, "Missing claim: 'iss'"),
        ({"iss": ["https://id.example"]}, {}, "'iss' must be"),
        ({"exp": None}, {}, "Missing claim: 'exp'"),
        ({"exp": "2030"}, {}, "'exp' must be"),
        ({"exp": True}, {}, "'exp' must be"),
        ({"exp": float("nan")}, {}, "'exp' must be"),
        ({"exp": float("inf")}, {}, "'exp' must be"),
        ({"exp": 0}, {}, "expired"),
        ({"exp": -(10**400)}, {}, "expired"),
        ({"nbf": "2030"}, {}, "'nbf' must be"),
        ({"sub": None}, {}, "Missing claim: 'sub'"),
        ({"sub": ""}, {}, ""),
        ({"sub": 7}, {}, "'sub' must be"),
        ({}, {"user_id": "email"}, "Missing claim: 'email'"),
        ({"email": ""}, {"user_id": "email"}, "Invalid claim: 'email'"),
        ({"email": 7}, {"user_id": "email"}, "'email' must be"),
        ({"email": ["a"]}, {"user_id": "email"}, "'email' must be"),
        ({"aud": "other"}, {"user_id": "aud"}, "Invalid claim: 'aud'"),
    ],
)
def test_claims_that_do_not_hold(
    claims: dict[str, Any], options: dict[str, Any], reason: str, refused: Refused
) -> None:
    refused(authenticator(**options), sign(**claims), reason)


@pytest.mark.parametrize(
    ("claims", "options", "id"),
    [
        ({"aud": ["other", "chat"]}, {}, "ann"),
        ({"aud": "games"}, {"audience": ["chat", "games"]}, "ann"),
        ({"aud": None}, {"audience": None}, "ann"),
        ({"aud": "whoever"}, {"audience": None}, "ann"),
        ({"iss": "b"}, {"issuer": ("a", "b")}, "ann"),
        ({"iss": None}, {"issuer": None}, "ann"),
        ({"email": "a@b"}, {"user_id": "email"}, "a@b"),
        ({"sub": None, "email": "a@b"}, {"user_id": "email"}, "a@b"),
        ({"exp": NOW + 0.5}, {}, "ann"),
    ],
)
def test_claims_that_hold(claims: dict[str, Any], options: dict[str, Any], id: str) -> None:
    user = authenticator(**options)(request(sign(**claims)))
    assert user is not None
    assert user.id == id


# ---- time


@pytest.mark.parametrize("leeway", [0, 30])
def test_it_is_good_until_it_expires_by_the_slowest_clock(
    leeway: int, clock: Clock, refused: Refused
) -> None:
    authenticate, token = authenticator(leeway=leeway), sign(exp=NOW)
    clock(NOW + leeway - 0.01)
    assert authenticate(request(token)) == User("ann", claims={**CLAIMS, "exp": NOW}, expires_at=NOW + leeway)
    clock(NOW + leeway)
    refused(authenticate, token, "expired")


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("leeway", [0, 30])
def test_it_is_good_as_soon_as_it_is_by_the_fastest_clock(
    leeway: int, claim: str, clock: Clock, refused: Refused
) -> None:
    authenticate, token = authenticator(leeway=leeway), sign(SECRET, "HS256", **{claim: NOW})
    clock(NOW - leeway - 0.01)
    refused(authenticate, token, "not yet valid" if claim == "nbf" else "in the future")
    clock(NOW - leeway)
    assert authenticate(request(token))


def test_half_a_minute_is_forgiven_by_default(clock: Clock, refused: Refused) -> None:
    clock(CLAIMS["exp"] + 29)
    assert authenticator()(request(sign()))
    clock(CLAIMS["exp"] + 30)
    refused(authenticator(), sign(), "expired")


# ---- keys that change


def test_keys_may_change(refused: Refused) -> None:
    keys: list[Any] = [{"keys": [RSA.as_dict(private=False)]}]
    authenticate = authenticator(lambda: keys[0], ["RS256", "ES256"])
    old, new = sign(RSA, "RS256", header={"kid": "rsa"}), sign(EC, "ES256", header={"kid": "ec"})
    assert authenticate(request(old))
    refused(authenticate, new, "No key for kid: 'ec'")
    keys[0] = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
    assert authenticate(request(old))
    assert authenticate(request(new))
    del keys[0]["keys"][0]
    refused(authenticate, old, "No key for kid: 'rsa'")
    assert authenticate(request(new))


def test_keys_are_not_asked_for_without_need(caplog: pytest.LogCaptureFixture) -> None:
    def never() -> Key:
        raise AssertionError

    authenticate = authenticator(never)
    assert authenticate(request(None)) is None
    assert authenticate(request("a" * 8193)) is None


def test_a_failure_to_get_the_keys_is_the_servers() -> None:
    def unreachable() -> Key:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        authenticator(unreachable)(request(sign()))


# ---- garbage


def test_an_oversized_token_is_not_read(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    padding = 8192 - len(sign(x=""))
    assert authenticator()(request(sign(x="x" * (padding * 3 // 4))))  # what is encoded grows by a third
    refused(authenticator(), sign(x="x" * 8192), "characters")

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(jwt, "decode", never)
    refused(authenticator(), "a" * 8193, "it has 8193 characters")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HEADERS = (
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from(["HS256", "RS256", "ES256", "none", "rsa", "ec", "secret", "kid", "b64"])
            | ANYTHING
            for name in ("alg", "kid", "crit", "typ", "b64", "jwk", "x5c", "zip", "alg ")
        },
    )
    | st.lists(st.sampled_from(["alg", "kid", "crit"]))
    | ANYTHING
)


@pytest.mark.parametrize(
    "token", [".", "..", "...", "a.b.c", "\ud800", "\0", sign() + ".", f"{encoded(['alg'])}.."]
)
def test_a_malformed_token(token: str, refused: Refused) -> None:
    refused(authenticator(), token, "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.text("ab.-_=%").map(lambda text: f"{text}."))
def test_garbage_is_nobodys(token: str) -> None:
    assert authenticator()(request(token)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=HEADERS,
    payload=ANYTHING | st.just(CLAIMS),
    signature=st.binary(max_size=300) | st.sampled_from([bytes(32), bytes(64), bytes(256)]),
)
def test_a_token_with_a_made_up_signature_is_nobodys(header: Any, payload: Any, signature: bytes) -> None:
    token = f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}"
    assert authenticator()(request(token)) is None
    assert authenticator(PUBLIC, ["RS256", "ES256"])(request(token)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), character=st.characters(codec="latin-1"))
def test_a_token_with_one_changed_character_is_nobodys(data: st.DataObject, character: str) -> None:
    token = sign()
    position = data.draw(st.integers(0, token.rindex(".")))
    changed = token[:position] + character + token[position + 1 :]
    assert (authenticator()(request(changed)) is None) == (changed != token)


@given(payload=ANYTHING.filter(lambda payload: not isinstance(payload, dict)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_signed_payload_that_is_no_object_is_nobodys(payload: Any) -> None:
    token = jws.serialize_compact({"alg": "HS256"}, json.dumps(payload), SECRET, algorithms=["HS256"])
    assert authenticator()(request(token)) is None


# ---- choices


@pytest.mark.parametrize(
    ("key", "options", "text"),
    [
        (SECRET, {"algorithms": ["HS256", "none"]}, "'none' is no algorithm that signs"),
        (SECRET, {"algorithms": "HS1"}, "'HS1' is no algorithm that signs"),
        (SECRET, {"algorithms": []}, "algorithms: there must be one"),
        (SECRET, {"audience": []}, "audience: there must be one"),
        (SECRET, {"audience": ""}, "audience: there must be one, and none may be empty"),
        (SECRET, {"audience": ["chat", ""]}, "audience: .* none may be empty"),
        (SECRET, {"issuer": ""}, "issuer: there must be one"),
        (RSA, {"algorithms": "HS256"}, "there is no key for the algorithm 'HS256'"),
        (EC, {"algorithms": ["ES256", "HS256"]}, "there is no key for the algorithm 'HS256'"),
        (PUBLIC, {"algorithms": ["RS256", "HS256"]}, "there is no key for the algorithm 'HS256'"),
        (SECRET, {"algorithms": "RS256"}, "there is no key for the algorithm 'RS256'"),
        (EC, {"algorithms": "ES384"}, "there is no key for the algorithm 'ES384'"),
        (KeySet([RSA, SECRET]), {"algorithms": ["RS256", "HS256"]}, "secret keys do not belong"),
    ],
)
def test_choices_that_let_in_nobody_or_too_many_are_refused(
    key: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        authenticator(key, **options)


@pytest.mark.parametrize("key", ["a secret", b"a secret", None, 5])
def test_what_is_no_key_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(TypeError, match=f"of type {type(key).__name__}") as caught:
        authenticator(key)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", [{}, {"keys": []}, {"kty": "RSA"}, {"kty": "other"}])
def test_a_malformed_jwk_is_refused(key: Any) -> None:
    with pytest.raises(JoseError):
        authenticator(key)
