"""Faults: the quick tests run by default, all of them with --all-faults, which also counts what was tried."""

import small

LONG = "long: minutes; run with --all-faults"


def pytest_addoption(parser):
    parser.addoption("--all-faults", action="store_true", help="run the long tests too, and count what was tried")


def pytest_configure(config):
    config.addinivalue_line("markers", LONG)
    small.THOROUGH = config.getoption("--all-faults", default=False)


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all-faults", default=False):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
