"""Tests of the roof's ASGI: an app under other servers and beside other apps, and theirs behind ours."""
