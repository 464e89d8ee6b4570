//! The module `basics.wasm`: numbers, a generator, load, and a small stateful node.

mod arithmetic;
mod busy;
mod flow;
mod stats;

use arithmetic::{AddNode, MultiplyNode};
use busy::Busy;
use flow::{PassThrough, Range};
use stats::Stats;

remotemedia_node::export_nodes!(PassThrough, MultiplyNode, AddNode, Range, Busy, Stats);
