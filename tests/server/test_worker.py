"""Which worker an app is of, is known where the app is made."""

from tests.server.test_door import Others
from trio_hubs import HubApp
from trio_hubs.server.worker import Worker, current_worker


def test_apps_are_part_of_the_worker_in_which_they_are_made() -> None:
    assert HubApp().worker_number is None
    before = current_worker.set(Worker(3, Others()))
    try:
        assert HubApp().worker_number == 3
    finally:
        current_worker.reset(before)
    assert HubApp().worker_number is None
