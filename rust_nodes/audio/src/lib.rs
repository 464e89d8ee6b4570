//! The module `audio.wasm`: from a WAV file to utterances that a recogniser takes.

mod mono;
mod resample;
mod utterances;
mod wav;

use mono::ToMono;
use resample::Resample;
use utterances::Utterances;
use wav::DecodeWav;

/// Samples in one item, all channels together (64 MiB): what fits into the module's memory beside its copies.
const MAX_SAMPLES: usize = 16 * 1024 * 1024;

remotemedia_node::export_nodes!(DecodeWav, Resample, ToMono, Utterances);
