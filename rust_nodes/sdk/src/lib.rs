//! Nodes of RemoteMedia Mesh in Rust.
//!
//! A node is a struct that implements [`Node`]; [`params!`] declares its parameters and [`export_nodes!`] makes a
//! WebAssembly module of one or more node types. A module imports nothing, so a node can reach nothing but its input.
//!
//! ```
//! use remotemedia_node::{Node, Number, Result, params};
//!
//! params! {
//!     pub struct Half {}
//! }
//!
//! impl Node for Half {
//!     const DOC: &'static str = "Half of a number.";
//!     type Params = Self;
//!     type Input<'a> = Number;
//!     type Output = f64;
//!
//!     fn new(params: Self) -> Result<Self> {
//!         Ok(params)
//!     }
//!
//!     fn process(&mut self, input: Number) -> Result<f64> {
//!         Ok(input.as_f64() / 2.0)
//!     }
//! }
//! ```

// the generated code names this crate as others do
extern crate self as remotemedia_node;

mod array;
mod audio;
mod convert;
mod describe;
mod guest;
mod instance;
mod node;
mod params;
mod reader;
mod value;

pub use array::{Array, Dtype, Item};
pub use audio::Audio;
pub use convert::{FromValue, Kind, Number, ToValue};
pub use guest::{Module, NodeType};
pub use instance::{AnyInstance, Instance};
pub use node::{Input, Many, Node, Output, Part, Payload, Payloads};
pub use params::{Given, Param, Params};
pub use value::Value;

/// What can fail says why; the text of an item's error is what the user reads.
pub type Result<T> = std::result::Result<T, String>;

#[doc(hidden)]
#[allow(missing_docs, unsafe_code, reason = "generated: the lowering of the world")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit/node.wit",
        world: "nodes",
        pub_export_macro: true,
        runtime_path: "remotemedia_node::bindings::rt",
    });
    pub use wit_bindgen::rt;
}
