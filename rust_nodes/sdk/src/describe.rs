//! The JSON that `describe` answers.

use crate::convert::Kind;
use crate::node::{Node, Output};
use crate::params::{Param, Params};
use crate::value::Value;

/// The entry of one node type.
pub(crate) fn describe<N: Node>(node_type: &str) -> String {
    entry(
        &[
            ("node_type", node_type),
            ("doc", N::DOC),
            ("accepts", <N::Input<'_> as Kind>::KIND),
            ("returns", N::Output::KIND),
            ("arity", N::Output::ARITY),
        ],
        &[
            ("join", N::JOIN),
            ("stateful", N::STATEFUL),
            ("deterministic", N::DETERMINISTIC),
            ("finishes", N::FINISHES),
            ("snapshots", N::SNAPSHOTS),
        ],
        N::OPTIONAL,
        &N::Params::describe(),
    )
}

/// What is the same for all types, so that a module has it once.
fn entry(texts: &[(&str, &str)], flags: &[(&str, bool)], optional: &[&str], params: &[Param]) -> String {
    let texts = texts.iter().map(|(name, text)| (*name, Value::Text(text)));
    let flags = flags.iter().map(|(name, flag)| (*name, Value::Bool(*flag)));
    let optional = optional.iter().map(|port| Value::Text(port)).collect();
    let params = params.iter().map(|param| (param.name, describe_param(param))).collect();
    let rest = [("optional", Value::List(optional)), ("params", Value::Map(params))];
    json(&Value::Map(texts.chain(flags).chain(rest).collect()))
}

fn describe_param(param: &Param) -> Value<'_> {
    let default = param.default.as_deref().and_then(|payload| Value::decode(payload).ok());
    let entries = [("kind", Value::Text(param.kind)), ("doc", Value::Text(param.doc.trim()))];
    Value::Map(entries.into_iter().chain(default.map(|value| ("default", value))).collect())
}

/// Plain JSON: what it cannot say (bytes, arrays, NaN and the infinities) is null.
fn json(value: &Value<'_>) -> String {
    match value {
        Value::Null | Value::Bytes(_) | Value::Array(_) => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        // the standard library's own way would make a third of a small module
        Value::Float(value) if value.is_finite() => ryu::Buffer::new().format_finite(*value).into(),
        Value::Float(_) => "null".into(),
        Value::Text(text) => quoted(text),
        Value::List(members) => {
            let members: Vec<_> = members.iter().map(json).collect();
            format!("[{}]", members.join(","))
        }
        Value::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, value)| format!("{}:{}", quoted(key), json(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::node::Many;

    crate::params! {
        struct Split {
            /// What stands "between",
            /// as text.
            mark: String,
            limit: f64 = 2.0,
        }
    }

    impl Node for Split {
        const DOC: &'static str = "One\\two\n…";
        const DETERMINISTIC: bool = false;
        const OPTIONAL: &'static [&'static str] = &["b"];
        type Params = Self;
        type Input<'a> = &'a str;
        type Output = Many<String>;

        fn new(params: Self) -> Result<Self> {
            Ok(params)
        }

        fn process(&mut self, _: &str) -> Result<Many<String>> {
            Ok(Many::new([Ok(self.mark.clone())].into_iter().take(self.limit as usize)))
        }
    }

    #[test]
    fn the_entry_says_what_the_types_say() {
        let entry: serde_json::Value = serde_json::from_str(&describe::<Split>("Split")).unwrap();
        let expected = serde_json::json!({
            "node_type": "Split", "doc": "One\\two\n…", "accepts": "text", "returns": "text", "arity": "many",
            "join": false, "optional": ["b"], "stateful": false, "deterministic": false, "finishes": false,
            "snapshots": false,
            "params": {
                "mark": {"kind": "text", "doc": "What stands \"between\", as text."},
                "limit": {"kind": "number", "doc": "", "default": 2.0},
            },
        });
        assert_eq!(entry, expected);
    }
}
