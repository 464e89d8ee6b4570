//! A node that changes nothing, and a generator.

use remotemedia_node::{Many, Node, Payload, Result};

pub struct PassThrough;

impl Node for PassThrough {
    const DOC: &'static str = "The value unchanged.";
    type Params = ();
    type Input<'a> = Payload;
    type Output = Payload;

    fn new((): ()) -> Result<Self> {
        Ok(PassThrough)
    }

    fn process(&mut self, input: Payload) -> Result<Payload> {
        Ok(input)
    }
}

pub struct Range;

impl Node for Range {
    const DOC: &'static str = "The ints from 0 to below the item, one part each.";
    type Params = ();
    type Input<'a> = i128;
    type Output = Many<i128>;

    fn new((): ()) -> Result<Self> {
        Ok(Range)
    }

    fn process(&mut self, input: i128) -> Result<Many<i128>> {
        Ok(Many::new((0..input).map(Ok)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remotemedia_node::{AnyInstance, Instance, Value};

    const NO_PARAMS: &[u8] = b"\x80";

    fn parts<N: Node>(payload: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut node = Instance::<N>::new(NO_PARAMS)?;
        let mut parts = Vec::new();
        let mut part = node.process(payload.to_vec())?;
        while let Some(payload) = part {
            parts.push(payload);
            part = node.next()?;
        }
        Ok(parts)
    }

    #[test]
    fn pass_through_returns_the_very_bytes() {
        let longer_than_needed = b"\xd3\0\0\0\0\0\0\0\x05";
        assert_eq!(parts::<PassThrough>(longer_than_needed), Ok(vec![longer_than_needed.to_vec()]));
    }

    #[test]
    fn range_counts_from_zero_to_below_the_item() {
        let ints: Vec<_> = (0..3).map(|n| Value::Int(n).encode().unwrap()).collect();
        assert_eq!(parts::<Range>(b"\x03"), Ok(ints));
    }

    #[test]
    fn range_of_zero_or_less_makes_no_part() {
        for n in [0, -5] {
            assert_eq!(parts::<Range>(&Value::Int(n).encode().unwrap()), Ok(vec![]));
        }
    }

    #[test]
    fn range_takes_ints_only() {
        assert_eq!(parts::<Range>(b"\xc3"), Err("an int is needed, not bool".into()));
        assert!(parts::<Range>(&Value::Float(2.0).encode().unwrap()).is_err());
    }

    #[test]
    fn a_new_item_abandons_the_rest_of_the_one_before() {
        let mut node = Instance::<Range>::new(NO_PARAMS).unwrap();
        node.process(b"\x05".to_vec()).unwrap();
        assert_eq!(node.process(b"\x01".to_vec()), Ok(Some(b"\x00".to_vec())));
        assert_eq!(node.next(), Ok(None));
    }
}
