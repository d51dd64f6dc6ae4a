"""ASGI, both ways: an app of ours under another server, beside other web apps, and theirs behind ours."""
