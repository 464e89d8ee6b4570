"""The table that ``make faults`` ends with."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pytest
from faulty_streams import Drive, Outcome, Outcomes, Stream
from playwright.sync_api import Playwright, sync_playwright

TABLE = pytest.StashKey[Outcomes]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = defaultdict(list)


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> Outcomes:
    """Where a test writes what became of its streams: by fault and engine."""
    return request.config.stash[TABLE]


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """Starts a stream, of a manifest's text; its driver ends with the test."""
    streams: list[Stream] = []

    def start(text: str, invite: str, *, engine: str, within: Sequence[str] = ()) -> Stream:
        streams.append(Stream(tmp_path, text, invite, engine=engine, within=within))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def _ended(runs: Sequence[Outcome]) -> str:
    """How they ended: each with what an undisturbed run gives, or with its beginning and a reason."""
    if not all(run.identical for run in runs):
        return "NOT identical"
    return ", ".join(sorted({"identical" if run.receipt["status"] == "done" else "ended, named" for run in runs}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if not table:
        return
    columns = ("fault", "engine", "runs", "stall s: median", "max", "epochs", "replayed", "outcome")
    rows = [columns] + [
        (
            fault,
            engine,
            str(len(runs)),
            f"{median(run.stall_s for run in runs):.1f}",
            f"{max(run.stall_s for run in runs):.1f}",
            f"{median(len(run.receipt['epochs']) for run in runs):g}",
            str(sum(run.receipt["replayed"] for run in runs)),
            _ended(runs),
        )
        for (fault, engine), runs in table.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    terminalreporter.section("faults")
    for row in rows:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
