//! Multiplication and addition. Ints stay ints, and beyond −2⁶³ … 2⁶⁴−1 they are errors, not floats.

use std::ops::RangeInclusive;

use remotemedia_node::{Node, Number, Result, params};

const INTS: RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

/// `a` and `b` together: exact where both are ints, as doubles otherwise.
fn combine(
    (a, b): (Number, Number),
    sign: char,
    ints: fn(i128, i128) -> Option<i128>,
    floats: fn(f64, f64) -> f64,
) -> Result<Number> {
    let (Number::Int(x), Number::Int(y)) = (a, b) else {
        return Ok(Number::Float(floats(a.as_f64(), b.as_f64())));
    };
    match ints(x, y).filter(|result| INTS.contains(result)) {
        Some(result) => Ok(Number::Int(result)),
        None => Err(format!("{x} {sign} {y} is outside -2**63 … 2**64-1")),
    }
}

params! {
    pub struct MultiplyNode {
        /// What each number is multiplied by.
        factor: Number,
    }
}

impl Node for MultiplyNode {
    const DOC: &'static str = "number × factor; int × int is an int.";
    type Params = Self;
    type Input<'a> = Number;
    type Output = Number;

    fn new(params: Self) -> Result<Self> {
        Ok(params)
    }

    fn process(&mut self, input: Number) -> Result<Number> {
        combine((input, self.factor), '×', i128::checked_mul, |x, y| x * y)
    }
}

params! {
    pub struct AddNode {
        /// What is added to each number.
        addend: Number,
    }
}

impl Node for AddNode {
    const DOC: &'static str = "number + addend; int + int is an int.";
    type Params = Self;
    type Input<'a> = Number;
    type Output = Number;

    fn new(params: Self) -> Result<Self> {
        Ok(params)
    }

    fn process(&mut self, input: Number) -> Result<Number> {
        combine((input, self.addend), '+', i128::checked_add, |x, y| x + y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Number::{Float, Int};

    fn multiply(input: Number, factor: Number) -> Result<Number> {
        MultiplyNode { factor }.process(input)
    }

    fn add(input: Number, addend: Number) -> Result<Number> {
        AddNode { addend }.process(input)
    }

    #[test]
    fn ints_stay_ints_and_a_float_makes_a_float() {
        assert_eq!(multiply(Int(5), Int(2)), Ok(Int(10)));
        assert_eq!(multiply(Int(5), Float(2.0)), Ok(Float(10.0)));
        assert_eq!(multiply(Float(0.5), Int(2)), Ok(Float(1.0)));
        assert_eq!(add(Int(20), Int(-30)), Ok(Int(-10)));
        assert_eq!(add(Int(1), Float(0.5)), Ok(Float(1.5)));
    }

    #[test]
    fn the_range_of_ints_is_used_to_its_ends() {
        let (lowest, highest) = (*INTS.start(), *INTS.end());
        assert_eq!(multiply(Int(highest), Int(1)), Ok(Int(highest)));
        assert_eq!(multiply(Int(lowest / 2), Int(2)), Ok(Int(lowest)));
        assert_eq!(add(Int(highest), Int(lowest)), Ok(Int(highest + lowest)));
    }

    #[test]
    fn beyond_the_range_is_an_error() {
        let (lowest, highest) = (*INTS.start(), *INTS.end());
        assert_eq!(add(Int(highest), Int(1)), Err("18446744073709551615 + 1 is outside -2**63 … 2**64-1".into()));
        assert!(add(Int(lowest), Int(-1)).is_err());
        assert!(multiply(Int(highest), Int(highest)).is_err());
        assert!(multiply(Int(lowest), Int(lowest)).is_err());
    }

    #[test]
    fn floats_go_to_infinity_as_ieee_says() {
        assert_eq!(multiply(Float(1e308), Int(10)), Ok(Float(f64::INFINITY)));
    }
}
