"""What an app offers: the paths of hubs are exact, and each is given once."""

import pytest

from trio_hubs import Hub, HubApp, Response


class Sample(Hub):
    """Offers nothing."""


@pytest.mark.parametrize("path", ["/rooms/{room}", "/{", "/}", "/chat?room=1"])
def test_the_path_of_a_hub_is_no_pattern(path: str) -> None:
    with pytest.raises(ValueError, match="the path of a hub is matched as it is"):
        HubApp().add_hub(path, Sample)


@pytest.mark.parametrize("path", ["", "sample", "http://127.0.0.1/sample"])
def test_a_path_begins_with_a_slash(path: str) -> None:
    app = HubApp()
    with pytest.raises(ValueError, match="a path starts with '/'"):
        app.add_hub(path, Sample)
    with pytest.raises(ValueError, match="a path starts with '/'"):
        app.add_route(path, lambda _: Response())


def test_a_path_is_given_once() -> None:
    app = HubApp()
    app.add_hub("/sample", Sample)
    app.add_route("/route", lambda _: Response())
    for path in ("/sample", "/sample/negotiate", "/route"):
        with pytest.raises(ValueError, match=f"there is something at '{path}' already"):
            app.add_route(path, lambda _: Response())
    with pytest.raises(ValueError, match="there is something at '/sample' already"):
        app.add_hub("/sample", Sample)


def test_a_hub_that_was_refused_leaves_nothing_behind() -> None:
    app = HubApp()
    app.add_route("/sample/negotiate", lambda _: Response())
    with pytest.raises(ValueError, match="there is something at '/sample/negotiate' already"):
        app.add_hub("/sample", Sample)
    app.add_route("/sample", lambda _: Response())
