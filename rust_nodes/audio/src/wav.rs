//! WAV files.

use std::borrow::Cow;

use hound::{Sample, SampleFormat, WavReader};
use remotemedia_node::{Audio, Node, Result};

use crate::MAX_SAMPLES;

pub struct DecodeWav;

impl Node for DecodeWav {
    const DOC: &'static str = "The sound of a WAV file's bytes: PCM of 8, 16, 24 or 32 bits, or float32.";
    type Params = ();
    type Input<'a> = &'a [u8];
    type Output = Audio<'static>;

    fn new((): ()) -> Result<Self> {
        Ok(DecodeWav)
    }

    fn process(&mut self, file: &[u8]) -> Result<Audio<'static>> {
        let reader = WavReader::new(file).map_err(reason)?;
        let spec = reader.spec();
        if spec.channels == 0 || spec.sample_rate == 0 {
            return Err("not a WAV file: it has no channels or no rate".into());
        }
        if reader.len() as usize > MAX_SAMPLES {
            return Err(format!("the WAV file has {} samples, more than {MAX_SAMPLES}", reader.len()));
        }
        let samples = match spec.sample_format {
            SampleFormat::Float => collect(file, reader, |sample: f32| sample),
            SampleFormat::Int => {
                let full_scale = (1_i64 << (spec.bits_per_sample - 1)) as f32;
                collect(file, reader, |sample: i32| sample as f32 / full_scale)
            }
        };
        let samples = Cow::Owned(samples.map_err(reason)?);
        let channels = (spec.channels > 1).then_some(spec.channels.into());
        Ok(Audio { samples, channels, rate: spec.sample_rate })
    }
}

/// The samples, in a vector that never grows: there are as many as the header says, unless the file is cut short.
fn collect<S: Sample>(file: &[u8], reader: WavReader<&[u8]>, float: impl Fn(S) -> f32) -> hound::Result<Vec<f32>> {
    let mut samples = Vec::with_capacity(file.len().min(reader.len() as usize));
    for sample in reader.into_samples() {
        samples.push(float(sample?));
    }
    Ok(samples)
}

fn reason(error: hound::Error) -> String {
    match error {
        hound::Error::IoError(_) => "the WAV file is cut short".into(),
        hound::Error::Unsupported => "this encoding of WAV is not supported: PCM or float32 are".into(),
        error => format!("not a WAV file: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{WavSpec, WavWriter};
    use std::io::Cursor;

    fn file<S: Sample + Copy>(
        channels: u16,
        bits_per_sample: u16,
        sample_format: SampleFormat,
        samples: &[S],
    ) -> Vec<u8> {
        let spec = WavSpec { channels, sample_rate: 8000, bits_per_sample, sample_format };
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, spec).unwrap();
        samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }

    #[test]
    fn every_width_of_pcm_has_the_same_scale() {
        for bits in [8, 16, 24, 32] {
            let half = 1 << (bits - 2);
            let audio = DecodeWav.process(&file(1, bits, SampleFormat::Int, &[0, half, -half])).unwrap();
            assert_eq!(
                audio,
                Audio { samples: vec![0.0, 0.5, -0.5].into(), channels: None, rate: 8000 },
                "{bits} bits"
            );
        }
    }

    #[test]
    fn float_is_taken_as_it_is_and_stereo_stays_stereo() {
        let audio = DecodeWav.process(&file(2, 32, SampleFormat::Float, &[0.1_f32, -0.2, 1.5, 0.0])).unwrap();
        assert_eq!(audio, Audio { samples: vec![0.1, -0.2, 1.5, 0.0].into(), channels: Some(2), rate: 8000 });
    }

    #[test]
    fn an_empty_file_of_sound_is_no_frames() {
        assert_eq!(DecodeWav.process(&file::<i32>(1, 16, SampleFormat::Int, &[])).unwrap().frames(), 0);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_an_error() {
        let whole = file(1, 16, SampleFormat::Int, &[1, 2, 3]);
        for size in 0..whole.len() {
            assert!(DecodeWav.process(&whole[..size]).is_err(), "{size} bytes");
        }
    }

    #[test]
    fn a_header_that_promises_too_much_is_an_error() {
        let mut file = file(1, 16, SampleFormat::Int, &[1, 2, 3]);
        let size = file.len() - 6 - 4;
        file[size..size + 4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
        assert!(DecodeWav.process(&file).unwrap_err().contains("more than"));
    }

    #[test]
    fn other_bytes_are_no_wav() {
        assert!(DecodeWav.process(b"RIFX, and more that is no sound").unwrap_err().starts_with("not a WAV file"));
    }
}
