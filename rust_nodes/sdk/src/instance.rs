//! A node, alive: payloads in, payloads out.

use crate::Result;
use crate::node::{Input, Node, Output, Payloads};
use crate::params::Given;
use crate::value::Value;

/// A node of any type, with the functions of the world (wit/node.wit).
pub trait AnyInstance {
    /// One input: its first part, or none. Abandons what was not fetched of the input before.
    fn process(&mut self, payload: Vec<u8>) -> Result<Option<Vec<u8>>>;
    /// The next part of the same input, none at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>>;
    /// The end of the stream.
    fn finish(&mut self) -> Result<Option<Vec<u8>>>;
    /// The state of a stateful node.
    fn snapshot(&self) -> Result<Vec<u8>>;
    /// Back to a state.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

/// A node of type `N`, and what was not fetched of its last answer.
pub struct Instance<N> {
    node: N,
    rest: Payloads,
}

impl<N: Node> Instance<N> {
    /// A node with these parameters, an encoded map.
    pub fn new(params: &[u8]) -> Result<Self> {
        Ok(Instance { node: N::new(Given::read(params)?)?, rest: Box::new(std::iter::empty()) })
    }
}

impl<N: Node> AnyInstance for Instance<N> {
    fn process(&mut self, mut payload: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.rest = Box::new(std::iter::empty());
        let output = self.node.process(<N::Input<'_>>::read(&mut payload)?)?;
        drop(payload); // the output may need its room
        self.rest = output.payloads();
        self.next()
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.rest.next().transpose()
    }

    fn finish(&mut self) -> Result<Option<Vec<u8>>> {
        self.rest = match self.node.finish()? {
            Some(output) => output.payloads(),
            None => Box::new(std::iter::empty()),
        };
        self.next()
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        self.node.snapshot()?.encode()
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.node.restore(Value::decode(state)?)
    }
}
