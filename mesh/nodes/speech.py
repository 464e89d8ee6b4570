"""Speech to text, where pocketsphinx is installed: the extra ``speech``, ``pip install 'remotemedia-mesh[speech]'``."""

from typing import Any, Final

from mesh.nodes.base import Node
from mesh.values import matches

RATE: Final = 16_000  # Hz: what the en-us model was trained on


class SpeechToText(Node):
    """English speech as text. The item is one utterance: audio with one channel at 16 kHz."""

    accepts = "audio"
    returns = "text"

    def setup(self) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def process(self, value: Any) -> str:
        if not matches("audio", value):
            raise TypeError("audio is needed: {samples: float32 array, rate}")
        samples, rate = value["samples"], value["rate"]
        if rate != RATE or (len(samples.shape) == 2 and samples.shape[1] != 1):
            raise ValueError(
                f"one channel at {RATE} Hz is needed, not {list(samples.shape)} at {rate} Hz; resample first"
            )
        if not samples.size:
            return ""
        pcm = (samples.clip(-1.0, 1.0) * 32767).astype("<i2").tobytes()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""
