//! Speech cut at its pauses, by energy.

use std::ops::Range;

use remotemedia_node::{Audio, Many, Node, Result, params};

/// The level is measured over windows of this length.
const WINDOW_MS: f64 = 10.0;

params! {
    pub struct Settings {
        /// What is quieter is silence, in dB below full scale.
        threshold_db: f64 = -40.0,
        /// A shorter pause does not cut, in milliseconds.
        min_silence_ms: f64 = 300.0,
        /// A shorter sound is dropped, in milliseconds.
        min_speech_ms: f64 = 150.0,
        /// How much of the silence before and after stays, in milliseconds.
        pad_ms: f64 = 100.0,
    }
}

pub struct Utterances {
    threshold: f64,
    /// In windows, like the next two.
    min_silence: usize,
    min_speech: usize,
    pad: usize,
}

impl Node for Utterances {
    const DOC: &'static str = "The stretches of a sound between its pauses; of silence none.";
    type Params = Settings;
    type Input<'a> = Audio<'a>;
    type Output = Many<Audio<'static>>;

    fn new(settings: Settings) -> Result<Self> {
        Ok(Utterances {
            threshold: 10_f64.powf(settings.threshold_db / 10.0),
            min_silence: windows("min_silence_ms", settings.min_silence_ms)?.max(1),
            min_speech: windows("min_speech_ms", settings.min_speech_ms)?,
            pad: windows("pad_ms", settings.pad_ms)?,
        })
    }

    fn process(&mut self, audio: Audio<'_>) -> Result<Many<Audio<'static>>> {
        let window = ((f64::from(audio.rate) * WINDOW_MS / 1000.0) as usize).max(1) * audio.width();
        let is_loud = |samples: &[f32]| {
            let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
            energy / samples.len() as f64 > self.threshold
        };
        let loud: Vec<bool> = audio.samples.chunks(window).map(is_loud).collect();
        let cut = |stretch: Range<usize>| {
            let end = (stretch.end * window).min(audio.samples.len());
            let samples = audio.samples[stretch.start * window..end].to_vec();
            Ok(Audio { samples: samples.into(), channels: audio.channels, rate: audio.rate })
        };
        let utterances: Vec<_> = self.stretches(&loud).into_iter().map(cut).collect();
        Ok(Many::new(utterances.into_iter()))
    }
}

impl Utterances {
    /// The windows of each utterance.
    fn stretches(&self, loud: &[bool]) -> Vec<Range<usize>> {
        let mut sounds: Vec<Range<usize>> = Vec::new();
        for index in (0..loud.len()).filter(|index| loud[*index]) {
            match sounds.last_mut() {
                Some(sound) if index - sound.end < self.min_silence => sound.end = index + 1,
                _ => sounds.push(index..index + 1),
            }
        }
        sounds.retain(|sound| sound.len() >= self.min_speech);
        self.padded(&sounds, loud.len())
    }

    /// The sounds with silence around them; neighbours share the pause between them at most.
    fn padded(&self, sounds: &[Range<usize>], windows: usize) -> Vec<Range<usize>> {
        let middle = |index: usize| (sounds[index].end + sounds[index + 1].start) / 2;
        let pad = |(index, sound): (usize, &Range<usize>)| {
            let from = if index == 0 { 0 } else { middle(index - 1) };
            let to = if index + 1 == sounds.len() { windows } else { middle(index) };
            sound.start.saturating_sub(self.pad).max(from)..(sound.end.saturating_add(self.pad)).min(to)
        };
        sounds.iter().enumerate().map(pad).collect()
    }
}

fn windows(name: &str, ms: f64) -> Result<usize> {
    if ms >= 0.0 { Ok((ms / WINDOW_MS).round() as usize) } else { Err(format!("{name} is 0 or more, not {ms}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 1000;

    fn settings() -> Settings {
        Settings { threshold_db: -40.0, min_silence_ms: 300.0, min_speech_ms: 150.0, pad_ms: 100.0 }
    }

    /// Sound where it says so: pairs of milliseconds, silence and sound in turn.
    fn audio(pattern: &[usize]) -> Audio<'static> {
        let level = |(index, ms): (usize, &usize)| vec![[0.001, 0.5][index % 2]; *ms];
        Audio { samples: pattern.iter().enumerate().flat_map(level).collect(), channels: None, rate: RATE }
    }

    fn lengths(settings: Settings, pattern: &[usize]) -> Vec<usize> {
        let node = Utterances::new(settings).unwrap();
        utterances(node, audio(pattern)).iter().map(Audio::frames).collect()
    }

    fn utterances(mut node: Utterances, audio: Audio<'_>) -> Vec<Audio<'static>> {
        node.process(audio).unwrap().collect::<Result<_>>().unwrap()
    }

    #[test]
    fn silence_makes_no_part() {
        assert!(lengths(settings(), &[2000]).is_empty());
        assert!(lengths(settings(), &[]).is_empty());
    }

    #[test]
    fn sounds_are_cut_at_pauses_with_a_little_silence_around() {
        assert_eq!(lengths(settings(), &[500, 400, 500, 600, 500]), [600, 800]);
    }

    #[test]
    fn a_short_pause_does_not_cut() {
        assert_eq!(lengths(settings(), &[500, 400, 200, 600, 500]), [1400]);
    }

    #[test]
    fn a_click_is_no_utterance() {
        assert_eq!(lengths(settings(), &[500, 50, 500, 600, 500]), [800]);
    }

    #[test]
    fn padding_stops_at_the_ends_and_at_the_neighbour() {
        assert_eq!(lengths(Settings { pad_ms: 10_000.0, ..settings() }, &[50, 400, 500, 600, 20]), [700, 870]);
    }

    #[test]
    fn channels_and_rate_stay() {
        let mono = audio(&[100, 300, 100]);
        let samples: Vec<f32> = mono.samples.iter().flat_map(|sample| [*sample, 0.0]).collect();
        let parts = utterances(
            Utterances::new(settings()).unwrap(),
            Audio { samples: samples.clone().into(), channels: Some(2), rate: RATE },
        );
        assert_eq!(parts, [Audio { samples: samples.into(), channels: Some(2), rate: RATE }]);
    }

    #[test]
    fn negative_lengths_are_refused() {
        assert!(Utterances::new(Settings { pad_ms: -1.0, ..settings() }).is_err());
        assert!(Utterances::new(Settings { min_speech_ms: f64::NAN, ..settings() }).is_err());
    }
}
