//! Load for tests and demonstrations.

use std::hint::black_box;

use remotemedia_node::{Node, Number, Payload, Result, params};

/// Steps of the loop below in a millisecond. A module of nodes has no clock, so this is what the machines that we
/// measured have in common, to a factor of two.
const STEPS_PER_MS: f64 = 500_000.0;

params! {
    pub struct Busy {
        /// Milliseconds of one core, nearly: the arithmetic of that time on a core of 3 GHz.
        ms: Number,
    }
}

impl Node for Busy {
    const DOC: &'static str = "Computes for some milliseconds on one core; the value unchanged.";
    type Params = Self;
    type Input<'a> = Payload;
    type Output = Payload;

    fn new(params: Self) -> Result<Self> {
        Ok(params)
    }

    fn process(&mut self, input: Payload) -> Result<Payload> {
        black_box(xorshift((self.ms.as_f64() * STEPS_PER_MS) as u64));
        Ok(input)
    }
}

/// Each step needs the one before, so neither a compiler nor a processor can shorten the chain.
fn xorshift(steps: u64) -> u64 {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_value_is_unchanged() {
        let input = Payload(vec![0xc0]);
        assert_eq!(Busy { ms: Number::Int(0) }.process(input.clone()), Ok(input));
    }

    #[test]
    fn ten_times_the_milliseconds_take_longer() {
        let seconds = |ms| {
            let start = Instant::now();
            Busy { ms: Number::Float(ms) }.process(Payload(vec![])).unwrap();
            start.elapsed()
        };
        assert!(seconds(20.0) > seconds(2.0));
    }
}
