//! Parameters of nodes, declared once: [`params!`](crate::params) makes the struct, its parsing and its description.

use crate::Result;
use crate::convert::{FromValue, ToValue};
use crate::value::Value;

/// The parameters of a node type; [`params!`](crate::params) implements it. `()` is a node's that has none.
pub trait Params: Sized {
    /// What `describe` says of them.
    fn describe() -> Vec<Param>;

    /// Takes them out of `given`.
    fn take(given: &mut Given<'_>) -> Result<Self>;
}

impl Params for () {
    fn describe() -> Vec<Param> {
        Vec::new()
    }

    fn take(_: &mut Given<'_>) -> Result<Self> {
        Ok(())
    }
}

/// One parameter, for `describe`.
pub struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) doc: &'static str,
    /// Encoded; without one the parameter is required.
    pub(crate) default: Option<Vec<u8>>,
}

impl Param {
    #[doc(hidden)]
    pub fn new<T: ToValue>(name: &'static str, doc: &'static str, default: Option<T>) -> Self {
        let default = default.and_then(|value| value.to_value().encode().ok());
        Param { name, kind: T::KIND, doc, default }
    }
}

/// The parameters that the manifest gave, by name.
pub struct Given<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Given<'a> {
    /// Reads all parameters of a node: none is missing, none is left over.
    pub(crate) fn read<P: Params>(payload: &'a [u8]) -> Result<P> {
        let Value::Map(entries) = Value::decode(payload)? else {
            return Err("parameters are a map".into());
        };
        let mut given = Given(entries);
        let params = P::take(&mut given)?;
        match given.0.first() {
            Some((name, _)) => Err(format!("unknown parameter '{name}'")),
            None => Ok(params),
        }
    }

    #[doc(hidden)]
    pub fn take<T: FromValue<'a>>(&mut self, name: &str, default: Option<T>) -> Result<T> {
        match self.0.iter().position(|(key, _)| *key == name) {
            Some(index) => {
                let (_, value) = self.0.swap_remove(index);
                T::from_value(value).map_err(|error| format!("parameter '{name}': {error}"))
            }
            None => default.ok_or_else(|| format!("the parameter '{name}' is missing")),
        }
    }
}

/// Declares a struct of parameters. A field with a value has that default, a field without one is required; its doc
/// comment describes the parameter.
///
/// ```
/// remotemedia_node::params! {
///     pub struct Trim {
///         /// What is quieter is silence, in dB below full scale.
///         threshold_db: f64 = -40.0,
///     }
/// }
/// ```
#[macro_export]
macro_rules! params {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $doc:literal])* $field:ident: $type:ty $(= $default:expr)?),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[doc = $doc])* $field: $type,)*
        }

        impl $crate::Params for $name {
            fn describe() -> Vec<$crate::Param> {
                vec![$(
                    $crate::Param::new::<$type>(
                        stringify!($field), concat!($($doc),*), [$($default)?].into_iter().next(),
                    )
                ),*]
            }

            fn take(given: &mut $crate::Given<'_>) -> $crate::Result<Self> {
                Ok($name {
                    $($field: given.take::<$type>(stringify!($field), [$($default)?].into_iter().next())?,)*
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::Number;

    params! {
        #[derive(Debug, PartialEq)]
        struct Settings {
            /// Required.
            factor: Number,
            name: String = "x".into(),
            level: f64 = -40.0,
        }
    }

    fn read(entries: Vec<(&str, Value<'_>)>) -> Result<Settings> {
        Given::read(&Value::Map(entries).encode()?)
    }

    #[test]
    fn defaults_fill_what_is_not_given() {
        let settings = Settings { factor: Number::Int(2), name: "x".into(), level: -40.0 };
        assert_eq!(read(vec![("factor", Value::Int(2))]), Ok(settings));
    }

    #[test]
    fn an_int_does_for_a_float_and_a_number_stays_what_it_is() {
        let settings = read(vec![("level", Value::Int(-3)), ("factor", Value::Float(2.0))]).unwrap();
        assert_eq!((settings.level, settings.factor), (-3.0, Number::Float(2.0)));
    }

    #[test]
    fn faults_name_the_parameter() {
        assert_eq!(read(vec![]), Err("the parameter 'factor' is missing".into()));
        let wrong = read(vec![("factor", Value::Bool(true))]);
        assert_eq!(wrong, Err("parameter 'factor': a number is needed, not bool".into()));
        let unknown = read(vec![("factor", Value::Int(2)), ("factr", Value::Int(2))]);
        assert_eq!(unknown, Err("unknown parameter 'factr'".into()));
        assert_eq!(Given::read::<Settings>(b"\x90"), Err("parameters are a map".into()));
    }
}
