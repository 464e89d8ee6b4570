//! The exports of a module: the world of wit/node.wit over one instance.

use std::cell::RefCell;

use crate::Result;
use crate::bindings::Guest;
use crate::describe::describe;
use crate::instance::{AnyInstance, Instance};
use crate::node::Node;

type Make = fn(&[u8]) -> Result<Box<dyn AnyInstance>>;

/// One node type of a module.
pub struct NodeType {
    name: &'static str,
    describe: fn(&str) -> String,
    make: Make,
}

impl NodeType {
    /// `N` under a name.
    pub const fn of<N: Node>(name: &'static str) -> Self {
        NodeType { name, describe: describe::<N>, make: |params| Ok(Box::new(Instance::<N>::new(params)?)) }
    }
}

/// A module of nodes; [`export_nodes!`](crate::export_nodes) implements it.
pub trait Module {
    /// Its node types.
    const TYPES: &'static [NodeType];
}

thread_local! {
    /// A module instance is one node.
    static NODE: RefCell<Option<Box<dyn AnyInstance>>> = const { RefCell::new(None) };
}

fn with_node<T>(call: impl FnOnce(&mut dyn AnyInstance) -> Result<T>) -> Result<T> {
    NODE.with_borrow_mut(|node| call(node.as_deref_mut().ok_or("init comes before any other call")?))
}

impl<M: Module> Guest for M {
    fn describe() -> String {
        let types: Vec<_> = M::TYPES.iter().map(|node_type| (node_type.describe)(node_type.name)).collect();
        format!("[{}]", types.join(","))
    }

    fn init(node_type: String, params: Vec<u8>) -> Result<()> {
        let found = M::TYPES.iter().find(|candidate| candidate.name == node_type);
        let made = (found.ok_or_else(|| format!("this module has no node type '{node_type}'"))?.make)(&params)?;
        NODE.with_borrow_mut(|node| match node {
            Some(_) => Err("this instance is a node already".into()),
            None => {
                *node = Some(made);
                Ok(())
            }
        })
    }

    fn process(value: Vec<u8>) -> Result<Option<Vec<u8>>> {
        with_node(|node| node.process(value))
    }

    fn next() -> Result<Option<Vec<u8>>> {
        with_node(|node| node.next())
    }

    fn finish() -> Result<Option<Vec<u8>>> {
        with_node(|node| node.finish())
    }

    fn snapshot() -> Result<Vec<u8>> {
        with_node(|node| node.snapshot())
    }

    fn restore(state: Vec<u8>) -> Result<()> {
        with_node(|node| node.restore(&state))
    }
}

/// Makes the module of its node types, each named by its struct: `export_nodes!(Scale, Words);`
#[macro_export]
macro_rules! export_nodes {
    ($($node:ident),+ $(,)?) => {
        struct Nodes;

        impl $crate::Module for Nodes {
            const TYPES: &'static [$crate::NodeType] = &[$($crate::NodeType::of::<$node>(stringify!($node))),+];
        }

        $crate::bindings::export!(Nodes with_types_in $crate::bindings);
    };
}
