//! Between values and the types that nodes are written in; the types also say the kinds that `describe` declares.

use crate::Result;
use crate::array::Array;
use crate::value::Value;

/// A type that stands for values of one kind.
pub trait Kind {
    /// The kind: any, null, bool, int, float, number, text, bytes, list, map, array, audio or image.
    const KIND: &'static str;
}

/// Made of a value; the text of the error says which kind was expected.
pub trait FromValue<'a>: Kind + Sized {
    /// The value as this type.
    fn from_value(value: Value<'a>) -> Result<Self>;
}

/// Can be seen as a value.
pub trait ToValue: Kind {
    /// This as a value.
    fn to_value(&self) -> Value<'_>;
}

/// An int or a float, and it stays what it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer, −2⁶³ … 2⁶⁴−1.
    Int(i128),
    /// A double.
    Float(f64),
}

impl Number {
    /// As a double, rounded to the nearest.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

macro_rules! kinds {
    ($($type:ty = $kind:literal),* $(,)?) => {
        $(impl Kind for $type { const KIND: &'static str = $kind; })*
    };
}

kinds! {
    Value<'_> = "any", bool = "bool", i128 = "int", f64 = "number", Number = "number", String = "text", &str = "text",
    &[u8] = "bytes", Array<'_> = "array",
}

impl<T> Kind for Vec<T> {
    const KIND: &'static str = "list";
}

/// The error of a value that is not of `kind`.
pub(crate) fn wrong<T>(kind: &str, value: &Value<'_>) -> Result<T> {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    Err(format!("{article} {kind} is needed, not {}", value.kind()))
}

impl<'a> FromValue<'a> for Value<'a> {
    fn from_value(value: Value<'a>) -> Result<Self> {
        Ok(value)
    }
}

macro_rules! from_value {
    ($($type:ty: $($pattern:pat => $result:expr),+;)*) => {
        $(impl<'a> FromValue<'a> for $type {
            fn from_value(value: Value<'a>) -> Result<Self> {
                match value {
                    $($pattern => Ok($result),)+
                    other => wrong(Self::KIND, &other),
                }
            }
        })*
    };
}

from_value! {
    bool: Value::Bool(value) => value;
    i128: Value::Int(value) => value;
    // an int stands for the float of its value, so the kind is number
    f64: Value::Float(value) => value, Value::Int(value) => value as f64;
    Number: Value::Int(value) => Number::Int(value), Value::Float(value) => Number::Float(value);
    String: Value::Text(text) => text.to_string();
    &'a str: Value::Text(text) => text;
    &'a [u8]: Value::Bytes(bytes) => bytes;
    Array<'a>: Value::Array(array) => array;
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    fn from_value(value: Value<'a>) -> Result<Self> {
        match value {
            Value::List(members) => members.into_iter().map(T::from_value).collect(),
            other => wrong(Self::KIND, &other),
        }
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        self.clone()
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl ToValue for i128 {
    fn to_value(&self) -> Value<'_> {
        Value::Int(*self)
    }
}

impl ToValue for f64 {
    fn to_value(&self) -> Value<'_> {
        Value::Float(*self)
    }
}

impl ToValue for Number {
    fn to_value(&self) -> Value<'_> {
        match *self {
            Number::Int(value) => Value::Int(value),
            Number::Float(value) => Value::Float(value),
        }
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn to_value(&self) -> Value<'_> {
        Value::List(self.iter().map(T::to_value).collect())
    }
}
