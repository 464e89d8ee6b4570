"""Wasm and Python nodes in the workers of a real browser."""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from mesh.values import decode, encode

ROOT = Path(__file__).parent.parent.parent
VECTORS = json.loads((ROOT / "tests/vectors/wasm.json").read_text())
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: object) -> str:
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The test page, the installed modules, and hostile ones, served on loopback."""
    site = tmp_path_factory.mktemp("site")
    build = ["npx", "vite", "build", "--config", "test/vite.config.ts", "--outDir", str(site), "--logLevel", "warn"]
    subprocess.run(build, cwd=ROOT / "browser_peer", check=True, stdout=sys.stderr)
    nodes = site / "nodes"
    shutil.copytree(ROOT / "mesh/_assets/nodes", nodes)
    (nodes / "loop.wasm").write_bytes(bytes.fromhex(VECTORS["looping"][0]["wasm"]))
    for number, case in enumerate(VECTORS["refused"]):
        (nodes / f"refused-{number}.wasm").write_bytes(bytes.fromhex(case["wasm"]))
    (nodes / "index.json").write_text(json.dumps(sorted(path.name for path in nodes.glob("*.wasm"))))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.on("console", lambda message: print(message.text, file=sys.stderr))
        page.goto(f"{url}/runtimes.html")
        page.wait_for_function("window.tests")
        yield page
        browser.close()


class Tab:
    """The page's functions."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def do(self, function: str, *arguments: object) -> object:
        return self._page.evaluate("([name, args]) => tests[name](...args)", [function, list(arguments)])

    def create(self, name: str, runtime: str, node_type: str, params: object = None, **fields: object) -> None:
        made = self.do("create", name, runtime, {"node_type": node_type, **fields}, encode(params or {}).hex())
        assert made is None, made

    def process(self, name: str, value: object) -> list[object] | dict[str, str]:
        parts = self.do("call", name, "process", encode(value).hex())
        return [decode(bytes.fromhex(part)) for part in parts] if isinstance(parts, list) else parts

    def evaluate(self, script: str) -> object:
        return self._page.evaluate(script)


@pytest.fixture
def tab(page: Page) -> Tab:
    return Tab(page)


def test_wasm_nodes_run_in_workers_and_refused_modules_are_left_out(tab: Tab) -> None:
    types = tab.do("types", "wasm")
    assert {"PassThrough", "MultiplyNode", "Range", "Echo"} <= set(types)
    assert len(types) == len(set(types))
    tab.create("double", "wasm", "MultiplyNode", {"factor": 2})
    assert tab.process("double", 21) == [42]
    assert tab.process("double", "a")["kind"] == "raised"
    tab.create("range", "wasm", "Range", arity="many")
    assert tab.process("range", 300) == list(range(300))


def test_the_built_in_module_answers_as_under_wasmtime(tab: Tab) -> None:
    for number, case in enumerate(VECTORS["basics"]):
        name = f"basics {number}"
        node = {"node_type": case["node_type"], "arity": case["arity"]}
        assert tab.do("create", name, "wasm", node, case["params"]) is None
        for op, payload, expected in case["calls"]:
            answer = tab.do("call", name, op, payload)
            assert answer == expected or answer["kind"] == expected["kind"]
        tab.do("close", name)


def test_a_looping_wasm_node_is_ended_and_the_page_stays_alive(tab: Tab) -> None:
    tab.create("loop", "wasm", "Echo", timeout_s=0.5)
    ticks = tab.evaluate(
        """async () => {
            let ticks = 0;
            const timer = setInterval(() => ticks++, 10);
            const outcome = await tests.call("loop", "process", "c0");
            clearInterval(timer);
            return [ticks, outcome];
        }"""
    )
    assert ticks[0] > 10
    assert ticks[1] == {"kind": "timeout", "text": "it took longer than 0.5 s"}
    assert tab.process("loop", None)["kind"] == "crashed"


def test_python_types_are_known_before_pyodide_is_there(tab: Tab) -> None:
    assert {"TextProcessorNode", "Window", "Join"} <= set(tab.do("types", "pyodide"))
    assert tab.evaluate("tests.progress") == []


def test_a_python_node_runs_in_the_browser(tab: Tab) -> None:
    tab.create("text", "pyodide", "TextProcessorNode")
    assert tab.process("text", {"text": "Hello WASM", "operations": ["uppercase", "word_count"]}) == [
        {"original_text": "Hello WASM", "results": {"uppercase": "HELLO WASM", "word_count": 2}}
    ]
    progress = tab.evaluate("tests.progress")
    assert [each["state"] for each in (progress[0], progress[-1])] == ["loading", "ready"]
    assert len(progress) > 5
    assert 0.9 < progress[-2]["loaded"] / progress[-2]["total"] <= 1


def test_errors_of_python_nodes(tab: Tab) -> None:
    tab.create("triple", "pyodide", "MultiplyNode", {"factor": 3})
    assert tab.process("triple", "abc") == {"kind": "raised", "text": "MultiplyNode accepts number, got text 'abc'"}
    assert tab.process("triple", 5) == [15]
    tab.create("fail", "pyodide", "Fail", {"value": 1, "message": "no ones"})
    failure = tab.process("fail", 1)
    assert failure["kind"] == "raised"
    assert "no ones" in failure["text"].splitlines()[0]
    outcome = tab.do("create", "none", "pyodide", {"node_type": "MultiplyNode"})
    assert outcome["kind"] == "raised"
    assert "factor" in outcome["text"]


def test_generators_and_state(tab: Tab) -> None:
    tab.create("range", "pyodide", "Range", arity="many")
    assert tab.process("range", 300) == list(range(300))
    tab.create("window", "pyodide", "Window", {"size": 2}, stateful=True, arity="maybe")
    assert tab.process("window", 1) == []
    state = tab.do("snapshot", "window")
    assert tab.process("window", 2) == [[1, 2]]
    tab.do("restore", "window", state)
    assert [decode(bytes.fromhex(part)) for part in tab.do("call", "window", "finish")] == [[1]]


def test_nodes_that_wait_do_not_hold_up_the_others(tab: Tab) -> None:
    for name in ("delay 1", "delay 2"):
        tab.create(name, "pyodide", "Delay", {"seconds": 0.5})
    elapsed = tab.evaluate(
        """async () => {
            const began = performance.now();
            await Promise.all(["delay 1", "delay 2"].map((name) => tests.call(name, "process", "05")));
            return performance.now() - began;
        }"""
    )
    assert 490 < elapsed < 950


def test_a_python_node_that_takes_too_long_is_ended_and_the_others_are_made_again(tab: Tab) -> None:
    tab.create("slow", "pyodide", "Busy", {"ms": 30_000}, timeout_s=0.5)
    tab.create("kept", "pyodide", "MultiplyNode", {"factor": 2})
    assert tab.process("slow", 1) == {"kind": "timeout", "text": "it took longer than 0.5 s"}
    assert tab.process("kept", 4) == [8]


def test_values_come_out_equal_in_every_runtime(tab: Tab) -> None:
    vectors = json.loads((ROOT / "tests/vectors/values.json").read_text())
    payloads = [case["hex"] for case in vectors["values"]]
    assert len(payloads) > 20
    for runtime in ("wasm", "pyodide"):
        tab.create(f"pass {runtime}", runtime, "PassThrough")
        for payload in payloads:
            assert tab.do("call", f"pass {runtime}", "process", payload) == [payload], runtime


def test_a_call_is_quick(tab: Tab) -> None:
    for runtime in ("wasm", "pyodide"):
        tab.create(f"quick {runtime}", runtime, "PassThrough")
        for size, count in ((16, 500), (8000, 500), (1_000_000, 20)):
            microseconds = tab.do("time", f"quick {runtime}", size, count)
            print(f"{runtime}, {size} B: {microseconds:.0f} µs", file=sys.stderr)
            assert microseconds < 20_000
