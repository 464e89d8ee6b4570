//! Values and their bytes (docs/wire.md, section 1).

use rmp::encode::{self, ByteBuf};

use crate::Result;
use crate::array::Array;
use crate::reader::Reader;

/// A value, as a view of where it lives: a payload, or the node that answers it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing, which is a value.
    Null,
    /// True or false; never a number.
    Bool(bool),
    /// An integer, −2⁶³ … 2⁶⁴−1.
    Int(i128),
    /// A double.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list.
    List(Vec<Value<'a>>),
    /// A map, in its order on the wire.
    Map(Vec<(&'a str, Value<'a>)>),
    /// An array.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// The one value that `payload` holds.
    pub fn decode(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    /// The payload of this value.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut buffer = ByteBuf::new();
        self.write(&mut buffer)?;
        Ok(buffer.into_vec())
    }

    /// The narrowest kind that this value is of.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Array(_) => "array",
        }
    }

    fn write(&self, buffer: &mut ByteBuf) -> Result<()> {
        match self {
            Value::Null => drop(encode::write_nil(buffer)),
            Value::Bool(value) => drop(encode::write_bool(buffer, *value)),
            Value::Int(value) => write_int(buffer, *value)?,
            Value::Float(value) => drop(encode::write_f64(buffer, *value)),
            Value::Text(text) => {
                drop(encode::write_str_len(buffer, length(text.len())?));
                buffer.as_mut_vec().extend_from_slice(text.as_bytes());
            }
            Value::Bytes(bytes) => {
                drop(encode::write_bin_len(buffer, length(bytes.len())?));
                buffer.as_mut_vec().extend_from_slice(bytes);
            }
            Value::List(members) => {
                drop(encode::write_array_len(buffer, length(members.len())?));
                for member in members {
                    member.write(buffer)?;
                }
            }
            Value::Map(entries) => {
                drop(encode::write_map_len(buffer, length(entries.len())?));
                for (key, member) in entries {
                    Value::Text(key).write(buffer)?;
                    member.write(buffer)?;
                }
            }
            Value::Array(array) => array.write(buffer.as_mut_vec())?,
        }
        Ok(())
    }
}

fn write_int(buffer: &mut ByteBuf, value: i128) -> Result<()> {
    if let Ok(value) = u64::try_from(value) {
        drop(encode::write_uint(buffer, value));
    } else if let Ok(value) = i64::try_from(value) {
        drop(encode::write_sint(buffer, value));
    } else {
        return Err(format!("the integer {value} is outside -2**63 … 2**64-1"));
    }
    Ok(())
}

/// A length as msgpack has it.
pub(crate) fn length(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| "the value is too long".to_string())
}
