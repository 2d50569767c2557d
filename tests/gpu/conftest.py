"""Shows a failure at once: the time on a GPU may end before the summary."""

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        print(f"\nFAILED {report.nodeid}\n{report.longreprtext[-2500:]}", flush=True)
