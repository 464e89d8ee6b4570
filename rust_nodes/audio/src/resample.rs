//! From one sampling rate to another, as in J. O. Smith, "Digital Audio Resampling": band-limited interpolation with a
//! windowed sinc that is tabulated once for all pairs of rates.

use std::borrow::Cow;
use std::f64::consts::PI;
use std::ops::RangeInclusive;

use remotemedia_node::{Audio, Node, Result, params};

use crate::MAX_SAMPLES;

/// Frames a second, from slow telemetry to the fastest sound cards.
const RATES: RangeInclusive<i128> = 1_000..=768_000;

/// Zero crossings of the sinc on either side: the passband reaches to 88 % of what the lower rate can carry.
const CROSSINGS: usize = 64;
/// Table entries between two crossings; interpolated linearly, that is exact to 2e-6.
const RESOLUTION: usize = 512;
/// Where the passband ends, of half the lower rate, so that the stopband (−92 dB) begins there.
const CUTOFF: f64 = 0.94;

/// Weights that are computed before they are used, for as many places as that gives (4 MiB).
const MAX_KEPT_WEIGHTS: usize = 1024 * 1024;

params! {
    pub struct Settings {
        /// Frames a second of the result.
        rate: i128 = 16_000,
    }
}

pub struct Resample {
    rate: u32,
    /// The right half of the sinc; the unit of its argument is a sample of the lower rate.
    kernel: Vec<f32>,
}

impl Node for Resample {
    const DOC: &'static str = "The same sound at another rate, with as many channels as before.";
    type Params = Settings;
    type Input<'a> = Audio<'a>;
    type Output = Audio<'static>;

    fn new(settings: Settings) -> Result<Self> {
        Ok(Resample { rate: checked_rate(settings.rate)?, kernel: kernel() })
    }

    fn process(&mut self, audio: Audio<'_>) -> Result<Audio<'static>> {
        let (rate, channels) = (self.rate, audio.channels);
        if audio.rate == rate {
            return Ok(Audio { samples: Cow::Owned(audio.samples.into_owned()), channels, rate });
        }
        let filter = Filter { kernel: &self.kernel, from: checked_rate(audio.rate.into())?.into(), to: rate.into() };
        let frames = (audio.frames() as u64 * filter.to).div_ceil(filter.from);
        if frames * audio.width() as u64 > MAX_SAMPLES as u64 {
            return Err(format!("the result would have {frames} frames, more than {MAX_SAMPLES} samples"));
        }
        Ok(Audio { samples: Cow::Owned(filter.apply(&audio, frames as usize)), channels, rate })
    }
}

/// The kernel between two rates.
struct Filter<'a> {
    kernel: &'a [f32],
    from: u64,
    to: u64,
}

impl Filter<'_> {
    /// The first `frames` frames at the new rate.
    fn apply(&self, audio: &Audio<'_>, frames: usize) -> Vec<f32> {
        // between two input frames, output frames come at so many different places
        let phases = self.to / gcd(self.from, self.to);
        let kept = frames.min(phases as usize).min(MAX_KEPT_WEIGHTS / (2 * self.reach()));
        let bank: Vec<_> = (0..kept as u64).map(|phase| self.weights(phase as f64 / phases as f64)).collect();
        let mut output = vec![0.0; frames * audio.width()];
        for (n, frame) in output.chunks_exact_mut(audio.width()).enumerate() {
            // in frames of the input, times `to`: whole numbers, so that long sounds stay in time
            let time = n as u64 * self.from;
            let phase = time % self.to * phases / self.to;
            let weights = match bank.get(phase as usize) {
                Some(weights) => weights,
                None => &self.weights(phase as f64 / phases as f64),
            };
            self.sum(audio, (time / self.to) as usize, weights, frame);
        }
        output
    }

    /// One frame: the weighted sum of the input frames around `index`. Beyond its ends the sound is silent.
    fn sum(&self, audio: &Audio<'_>, index: usize, weights: &[f32], frame: &mut [f32]) {
        let width = audio.width();
        let first = (index + 1).saturating_sub(self.reach());
        let weights = &weights[first + self.reach() - (index + 1)..];
        for (channel, sample) in frame.iter_mut().enumerate() {
            let inputs = audio.samples[first * width + channel..].iter().step_by(width);
            *sample = inputs.zip(weights).map(|(input, weight)| input * weight).sum();
        }
    }

    /// The weights of `reach` input frames before a place and of as many after it. The place is `phase` (0 … 1) after
    /// the last of the former.
    fn weights(&self, phase: f64) -> Vec<f32> {
        let scale = self.scale();
        let before = self.reach() as f64 - 1.0 + phase;
        let distances = (0..2 * self.reach()).map(|tap| (tap as f64 - before).abs() * scale);
        distances.map(|distance| interpolate(self.kernel, distance * RESOLUTION as f64) * scale as f32).collect()
    }

    /// Input frames on either side that count.
    fn reach(&self) -> usize {
        (CROSSINGS as f64 / self.scale()).ceil() as usize
    }

    /// The lower rate in terms of `from`.
    fn scale(&self) -> f64 {
        (self.to as f64 / self.from as f64).min(1.0)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The table at a place between two entries; beyond its end 0.
fn interpolate(table: &[f32], place: f64) -> f32 {
    let index = place as usize;
    match table.get(index..=index + 1) {
        Some([left, right]) => left + (right - left) * (place - index as f64) as f32,
        _ => 0.0,
    }
}

/// sinc · Blackman-Harris.
fn kernel() -> Vec<f32> {
    let entry = |index: usize| {
        let angle = PI * index as f64 / (CROSSINGS * RESOLUTION) as f64;
        let window = 0.35875 + 0.48829 * angle.cos() + 0.14128 * (2.0 * angle).cos() + 0.01168 * (3.0 * angle).cos();
        let x = PI * CUTOFF * index as f64 / RESOLUTION as f64;
        let sinc = if index == 0 { 1.0 } else { x.sin() / x };
        (CUTOFF * sinc * window) as f32
    };
    (0..=CROSSINGS * RESOLUTION).map(entry).collect()
}

fn checked_rate(rate: i128) -> Result<u32> {
    let (lowest, highest) = RATES.into_inner();
    match u32::try_from(rate) {
        Ok(checked) if RATES.contains(&rate) => Ok(checked),
        _ => Err(format!("a rate is {lowest} to {highest} frames a second, not {rate}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(hertz: f64, rate: u32, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| (TAU * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
    }

    fn resample(audio: Audio<'_>, rate: u32) -> Result<Audio<'static>> {
        Resample::new(Settings { rate: rate.into() })?.process(audio)
    }

    fn mono(samples: Vec<f32>, rate: u32) -> Audio<'static> {
        Audio { samples: samples.into(), channels: None, rate }
    }

    #[test]
    fn a_tone_stays_that_tone() {
        for (from, to) in [(48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (22_050, 48_000)] {
            let input = mono(tone(440.0, from, from as usize), from);
            let output = resample(input, to).unwrap();
            let expected = tone(440.0, to, to as usize);
            assert_eq!(output.frames(), expected.len(), "{from} to {to}");
            // at its ends the sound begins and stops at once, which no lower rate can show
            let inside = 300..expected.len() - 300;
            let errors = output.samples[inside.clone()].iter().zip(&expected[inside]).map(|(a, b)| (a - b).abs());
            assert!(errors.fold(0.0, f32::max) < 1e-3, "{from} to {to}");
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_removed() {
        let output = resample(mono(tone(12_000.0, 48_000, 48_000), 48_000), 16_000).unwrap();
        assert!(output.samples[300..15_700].iter().all(|sample| sample.abs() < 1e-3));
    }

    #[test]
    fn channels_do_not_mix() {
        let samples = tone(440.0, 48_000, 4800).into_iter().flat_map(|sample| [sample, 0.0]).collect();
        let stereo = Audio { samples, channels: Some(2), rate: 48_000 };
        let output = resample(stereo, 16_000).unwrap();
        assert_eq!((output.frames(), output.channels), (1600, Some(2)));
        assert!(output.samples.chunks(2).all(|frame| frame[1] == 0.0));
        assert!(output.samples.chunks(2).any(|frame| frame[0] > 0.9));
    }

    #[test]
    fn the_number_of_frames_is_the_exact_one_rounded_up() {
        for frames in [0, 1, 2, 3, 147, 1023, 1024, 1025, 4410] {
            let output = resample(mono(vec![0.5; frames], 44_100), 16_000).unwrap();
            assert_eq!(output.frames(), (frames * 16_000).div_ceil(44_100));
        }
    }

    #[test]
    fn the_same_rate_changes_nothing() {
        let input = mono(vec![0.1, -0.1], 16_000);
        assert_eq!(resample(input.clone(), 16_000), Ok(input));
    }

    #[test]
    fn what_is_out_of_bounds_is_an_error() {
        assert!(resample(mono(vec![0.0], 16_000), 0).is_err());
        assert!(resample(mono(vec![0.0], 999), 16_000).is_err());
        assert!(resample(mono(vec![0.0; 100_000], 1_000), 768_000).unwrap_err().contains("samples"));
    }
}
