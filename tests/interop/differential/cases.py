"""All cases, in order."""

from . import (
    cases_auth,
    cases_calls,
    cases_ends,
    cases_errors,
    cases_handshake,
    cases_messagepack,
    cases_owners,
    cases_payloads,
    cases_reconnect,
    cases_requests,
    cases_streams,
    cases_transports,
)

CASES = (
    *cases_requests.CASES,
    *cases_transports.CASES,
    *cases_auth.CASES,
    *cases_handshake.CASES,
    *cases_handshake.FRAMES,
    *cases_calls.CASES,
    *cases_payloads.CASES,
    *cases_ends.CASES,
    *cases_streams.CASES,
    *cases_errors.CASES,
    *cases_messagepack.CASES,
    *cases_owners.CASES,
    *cases_reconnect.CASES,
)
