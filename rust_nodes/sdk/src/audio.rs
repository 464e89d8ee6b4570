//! Sound: `{"samples": float32 array (frames,) or (frames, channels), "rate": int}`.

use std::borrow::Cow;

use crate::Result;
use crate::array::Array;
use crate::convert::{FromValue, Kind, ToValue, wrong};
use crate::value::Value;

/// A piece of sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio<'a> {
    /// The samples, usually −1 … 1; those of one frame beside each other.
    pub samples: Cow<'a, [f32]>,
    /// Samples in a frame; `None` for the shape `(frames,)`. Never 0.
    pub channels: Option<usize>,
    /// Frames a second. Never 0.
    pub rate: u32,
}

impl Audio<'_> {
    /// Samples in a frame.
    pub fn width(&self) -> usize {
        self.channels.unwrap_or(1)
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.samples.len() / self.width()
    }
}

impl Kind for Audio<'_> {
    const KIND: &'static str = "audio";
}

impl<'a> FromValue<'a> for Audio<'a> {
    fn from_value(value: Value<'a>) -> Result<Self> {
        let Value::Map(entries) = &value else {
            return wrong(Self::KIND, &value);
        };
        let entry = |name| entries.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        let (Some(Value::Array(array)), Some(Value::Int(rate))) = (entry("samples"), entry("rate")) else {
            return Err("audio is a map of `samples`, an array, and `rate`, an int".into());
        };
        let samples = array.items().ok_or("the samples of audio are float32")?;
        let channels = match *array.shape() {
            [_] => None,
            [_, channels] if channels > 0 => Some(channels),
            _ => return Err("audio has the shape (frames,) or (frames, channels)".into()),
        };
        let rate = u32::try_from(*rate).ok().filter(|rate| *rate > 0).ok_or("the rate of audio is frames a second")?;
        Ok(Audio { samples, channels, rate })
    }
}

impl ToValue for Audio<'_> {
    fn to_value(&self) -> Value<'_> {
        let shape = [self.frames()].into_iter().chain(self.channels).collect();
        let samples = Value::Array(Array::new(&self.samples, shape));
        Value::Map(vec![("samples", samples), ("rate", Value::Int(self.rate.into()))])
    }
}
