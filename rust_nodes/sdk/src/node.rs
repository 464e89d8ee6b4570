//! What a node is.

use crate::Result;
use crate::convert::{FromValue, Kind, ToValue};
use crate::params::Params;
use crate::value::Value;

/// A type of node. It is named by its struct; its types say what it takes and what it gives.
pub trait Node: Sized + 'static {
    /// What it does, in a sentence.
    const DOC: &'static str;
    /// The same input gives the same output.
    const DETERMINISTIC: bool = true;
    /// What it does depends on earlier inputs: one instance sees all of them, in order.
    const STATEFUL: bool = false;
    /// `snapshot` and `restore` work, so a stateful node survives the loss of its peer.
    const SNAPSHOTS: bool = false;
    /// `finish` may answer parts.
    const FINISHES: bool = false;
    /// Takes several connections: its input is a map `{port: value}`.
    const JOIN: bool = false;
    /// Ports of a join that may be absent.
    const OPTIONAL: &'static [&'static str] = &[];

    /// Its parameters, made by [`params!`](crate::params): the struct itself (`Self`) or one of its own.
    type Params: Params;
    /// What it takes: anything that is made of a value, or [`Payload`].
    type Input<'a>: Input<'a>;
    /// What it gives for one input: `T` exactly one part, `Option<T>` at most one, [`Many<T>`] any number.
    type Output: Output;

    /// A node with these parameters, or why they are wrong.
    fn new(params: Self::Params) -> Result<Self>;

    /// One input. The text of an error is what the user reads; it ends this input, not the node.
    fn process(&mut self, input: Self::Input<'_>) -> Result<Self::Output>;

    /// The end of the stream; only of nodes with `FINISHES`.
    fn finish(&mut self) -> Result<Option<Self::Output>> {
        Ok(None)
    }

    /// The state between two inputs; only of nodes with `SNAPSHOTS`.
    fn snapshot(&self) -> Result<Value<'_>> {
        Err("this node has no snapshot".into())
    }

    /// Back to a state that `snapshot` gave.
    fn restore(&mut self, _state: Value<'_>) -> Result<()> {
        Err("this node has no snapshot".into())
    }
}

/// An encoded value that nobody looks at: passes through without a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl Kind for Payload {
    const KIND: &'static str = "any";
}

/// What a node takes.
pub trait Input<'a>: Kind + Sized {
    /// Reads the payload, or takes it away.
    fn read(payload: &'a mut Vec<u8>) -> Result<Self>;
}

impl<'a, T: FromValue<'a>> Input<'a> for T {
    fn read(payload: &'a mut Vec<u8>) -> Result<Self> {
        T::from_value(Value::decode(payload)?)
    }
}

impl Input<'_> for Payload {
    fn read(payload: &mut Vec<u8>) -> Result<Self> {
        Ok(Payload(std::mem::take(payload)))
    }
}

/// One part that a node gives.
pub trait Part: Kind + 'static {
    /// Its payload.
    fn payload(self) -> Result<Vec<u8>>;
}

impl<T: ToValue + 'static> Part for T {
    fn payload(self) -> Result<Vec<u8>> {
        self.to_value().encode()
    }
}

impl Part for Payload {
    fn payload(self) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// Parts that are made one by one, as they are asked for.
pub struct Many<T>(Box<dyn Iterator<Item = Result<T>>>);

impl<T> Many<T> {
    /// The parts of an iterator that may fail.
    pub fn new(parts: impl Iterator<Item = Result<T>> + 'static) -> Self {
        Many(Box::new(parts))
    }
}

impl<T> Iterator for Many<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.0.next()
    }
}

/// The parts of one input as payloads.
pub type Payloads = Box<dyn Iterator<Item = Result<Vec<u8>>>>;

/// What a node gives for one input.
pub trait Output {
    /// one, maybe or many.
    const ARITY: &'static str;
    /// The kind of a part.
    const KIND: &'static str;

    /// The parts, encoded.
    fn payloads(self) -> Payloads;
}

impl<T: Part> Output for T {
    const ARITY: &'static str = "one";
    const KIND: &'static str = T::KIND;

    fn payloads(self) -> Payloads {
        Box::new(std::iter::once(self.payload()))
    }
}

impl<T: Part> Output for Option<T> {
    const ARITY: &'static str = "maybe";
    const KIND: &'static str = T::KIND;

    fn payloads(self) -> Payloads {
        Box::new(self.map(T::payload).into_iter())
    }
}

impl<T: Part> Output for Many<T> {
    const ARITY: &'static str = "many";
    const KIND: &'static str = T::KIND;

    fn payloads(self) -> Payloads {
        Box::new(self.map(|part| part.and_then(T::payload)))
    }
}
