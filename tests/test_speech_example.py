"""``mesh run examples/speech.yaml``: five recorded sentences become text."""

import re
from difflib import SequenceMatcher

import pytest
from conftest import ROOT, mesh, results

EXAMPLES = ROOT / "examples"


@pytest.mark.slow
def test_the_recordings_are_understood() -> None:
    pytest.importorskip("pocketsphinx", reason="the extra `speech` is not installed")
    said = re.findall(r"^\| `…-\d+\.wav` \| (.+) \|$", (EXAMPLES / "audio" / "CREDITS.md").read_text(), re.MULTILINE)
    heard = results(mesh("run", EXAMPLES / "speech.yaml", "--items", EXAMPLES / "speech.jsonl"))
    assert len(heard) == len(said) == 5
    # the model has 27 % word errors on these sentences; it counts that they come out, one by one and in order
    for sentence, result in zip(said, heard, strict=True):
        words = result["original_text"].split()
        assert SequenceMatcher(None, sentence.split(), words, autojunk=False).ratio() > 0.6, words
        assert result["results"] == {"uppercase": " ".join(words).upper(), "word_count": len(words)}
