//! From many channels to one.

use remotemedia_node::{Audio, Node, Result};

pub struct ToMono;

impl Node for ToMono {
    const DOC: &'static str = "The mean of all channels, of shape (frames,).";
    type Params = ();
    type Input<'a> = Audio<'a>;
    type Output = Audio<'static>;

    fn new((): ()) -> Result<Self> {
        Ok(ToMono)
    }

    fn process(&mut self, audio: Audio<'_>) -> Result<Audio<'static>> {
        let width = audio.width();
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / width as f32;
        Ok(Audio { samples: audio.samples.chunks_exact(width).map(mean).collect(), channels: None, rate: audio.rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_averaged() {
        let stereo = Audio { samples: vec![1.0, 0.0, 0.5, -0.5].into(), channels: Some(2), rate: 8000 };
        let mono = Audio { samples: vec![0.5, 0.0].into(), channels: None, rate: 8000 };
        assert_eq!(ToMono.process(stereo), Ok(mono));
    }

    #[test]
    fn mono_keeps_its_samples() {
        for channels in [None, Some(1)] {
            let mono = Audio { samples: vec![0.25, -1.0].into(), channels, rate: 8000 };
            assert_eq!(ToMono.process(mono.clone()).unwrap().samples, mono.samples);
        }
    }
}
