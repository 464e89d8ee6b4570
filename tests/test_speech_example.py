"""``mesh run examples/speech.yaml``: five recorded sentences become text."""

import json
import re
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_the_recordings_are_understood() -> None:
    pytest.importorskip("pocketsphinx", reason="the extra `speech` is not installed")
    said = re.findall(r"^\| `…-\d+\.wav` \| (.+) \|$", (EXAMPLES / "audio" / "CREDITS.md").read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "run", EXAMPLES / "speech.yaml", "--items", EXAMPLES / "speech.jsonl"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    heard = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(heard) == len(said) == 5
    # the model has 27 % word errors on these sentences; it counts that they come out, one by one and in order
    for sentence, result in zip(said, heard, strict=True):
        words = result["original_text"].split()
        assert SequenceMatcher(None, sentence.split(), words, autojunk=False).ratio() > 0.6, words
        assert result["results"] == {"uppercase": " ".join(words).upper(), "word_count": len(words)}
