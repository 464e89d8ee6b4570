//! A stateful node with everything that one can have: parts at the end, and a state that moves.

use remotemedia_node::{FromValue, Kind, Node, Number, Result, ToValue, Value};

/// Count, mean (updated as Welford does), least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    count: i128,
    mean: f64,
    min: f64,
    max: f64,
}

impl Kind for Summary {
    const KIND: &'static str = "map";
}

impl ToValue for Summary {
    fn to_value(&self) -> Value<'_> {
        Value::Map(vec![
            ("count", Value::Int(self.count)),
            ("mean", Value::Float(self.mean)),
            ("min", Value::Float(self.min)),
            ("max", Value::Float(self.max)),
        ])
    }
}

impl FromValue<'_> for Summary {
    fn from_value(value: Value<'_>) -> Result<Self> {
        let Value::Map(entries) = value else {
            return Err(NO_STATE.into());
        };
        match entries[..] {
            [
                ("count", Value::Int(count)),
                ("mean", Value::Float(mean)),
                ("min", Value::Float(min)),
                ("max", Value::Float(max)),
            ] => Ok(Summary { count, mean, min, max }),
            _ => Err(NO_STATE.into()),
        }
    }
}

const NO_STATE: &str = "this is no state of Stats";

pub struct Stats(Summary);

impl Node for Stats {
    const DOC: &'static str = "Nothing for each number; at the end {count, mean, min, max} of all, if there were any.";
    const STATEFUL: bool = true;
    const SNAPSHOTS: bool = true;
    const FINISHES: bool = true;
    type Params = ();
    type Input<'a> = Number;
    type Output = Option<Summary>;

    fn new((): ()) -> Result<Self> {
        Ok(Stats(Summary { count: 0, mean: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }))
    }

    fn process(&mut self, input: Number) -> Result<Option<Summary>> {
        let (number, summary) = (input.as_f64(), &mut self.0);
        summary.count += 1;
        summary.mean += (number - summary.mean) / summary.count as f64;
        summary.min = summary.min.min(number);
        summary.max = summary.max.max(number);
        Ok(None)
    }

    fn finish(&mut self) -> Result<Option<Option<Summary>>> {
        Ok((self.0.count > 0).then_some(Some(self.0)))
    }

    fn snapshot(&self) -> Result<Value<'_>> {
        Ok(self.0.to_value())
    }

    fn restore(&mut self, state: Value<'_>) -> Result<()> {
        self.0 = Summary::from_value(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[Number]) -> Stats {
        let mut stats = Stats::new(()).unwrap();
        for number in numbers {
            assert_eq!(stats.process(*number), Ok(None));
        }
        stats
    }

    #[test]
    fn the_summary_comes_at_the_end() {
        let mut stats = after(&[Number::Int(1), Number::Float(2.5), Number::Int(10)]);
        assert_eq!(stats.finish(), Ok(Some(Some(Summary { count: 3, mean: 4.5, min: 1.0, max: 10.0 }))));
    }

    #[test]
    fn of_nothing_there_is_no_summary() {
        assert_eq!(after(&[]).finish(), Ok(None));
    }

    #[test]
    fn the_state_moves_to_another_instance() {
        let before = after(&[Number::Int(1), Number::Int(3)]);
        let state = before.snapshot().unwrap().encode().unwrap();
        let mut moved = after(&[]);
        moved.restore(Value::decode(&state).unwrap()).unwrap();
        assert_eq!(moved.0, before.0);
    }

    #[test]
    fn another_state_is_refused() {
        assert!(after(&[]).restore(Value::Int(3)).is_err());
        assert!(after(&[]).restore(Value::Map(vec![("count", Value::Int(1))])).is_err());
    }
}
