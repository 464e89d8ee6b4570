"""SpeechToText: what it refuses. That it understands is tested with the recordings of the speech example."""

from typing import Any

import numpy
import pytest

from mesh.nodes import Node, Registry, bind

pytest.importorskip("pocketsphinx")


@pytest.fixture(scope="module")
def speech() -> Node:
    node = bind(Registry().get("SpeechToText"), {})
    node.setup()
    return node


def audio(*shape: int, rate: int = 16_000) -> dict[str, Any]:
    return {"samples": numpy.zeros(shape, "float32"), "rate": rate}


def test_an_utterance_is_text(speech: Node) -> None:
    assert isinstance(speech.process(audio(8_000)), str)
    assert isinstance(speech.process(audio(8_000, 1)), str)
    assert speech.process(audio(0)) == ""


@pytest.mark.parametrize("item", [audio(10, rate=44_100), audio(10, 2)])
def test_other_rates_and_channels(speech: Node, item: Any) -> None:
    with pytest.raises(ValueError, match=r"one channel at 16000 Hz is needed, not .*; resample first"):
        speech.process(item)


def test_no_audio(speech: Node) -> None:
    with pytest.raises(TypeError, match="audio is needed"):
        speech.process(b"RIFF")
