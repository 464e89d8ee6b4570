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
        // reserved at once: to grow a large payload would take it twice
        let mut buffer = ByteBuf::with_capacity(self.size());
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

    /// Bytes that the payload takes at most.
    fn size(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 9,
            Value::Text(text) => 5 + text.len(),
            Value::Bytes(bytes) => 5 + bytes.len(),
            Value::List(members) => 5 + members.iter().map(Value::size).sum::<usize>(),
            Value::Map(entries) => 5 + entries.iter().map(|(key, member)| 5 + key.len() + member.size()).sum::<usize>(),
            Value::Array(array) => array.size(),
        }
    }

    /// Appends the payload; a buffer in memory takes whatever `rmp` writes.
    fn write(&self, buffer: &mut ByteBuf) -> Result<()> {
        match self {
            Value::Null => _ = encode::write_nil(buffer),
            Value::Bool(value) => _ = encode::write_bool(buffer, *value),
            Value::Int(value) => write_int(buffer, *value)?,
            Value::Float(value) => _ = encode::write_f64(buffer, *value),
            Value::Text(text) => {
                _ = encode::write_str_len(buffer, length(text.len())?);
                buffer.as_mut_vec().extend_from_slice(text.as_bytes());
            }
            Value::Bytes(bytes) => {
                _ = encode::write_bin_len(buffer, length(bytes.len())?);
                buffer.as_mut_vec().extend_from_slice(bytes);
            }
            Value::List(members) => {
                _ = encode::write_array_len(buffer, length(members.len())?);
                for member in members {
                    member.write(buffer)?;
                }
            }
            Value::Map(entries) => {
                _ = encode::write_map_len(buffer, length(entries.len())?);
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
        _ = encode::write_uint(buffer, value);
    } else if let Ok(value) = i64::try_from(value) {
        _ = encode::write_sint(buffer, value);
    } else {
        return Err(format!("the integer {value} is outside -2**63 … 2**64-1"));
    }
    Ok(())
}

/// A length as msgpack has it.
pub(crate) fn length(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| "the value is too long".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of a section of the vectors that all languages assert.
    fn vectors(section: &str) -> Vec<Vec<u8>> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/values.json")).unwrap();
        let bytes =
            |hex: &str| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        vectors[section].as_array().unwrap().iter().map(|case| bytes(case["hex"].as_str().unwrap())).collect()
    }

    #[test]
    fn payloads_come_out_as_they_went_in() {
        for payload in vectors("values") {
            assert_eq!(Value::decode(&payload).and_then(|value| value.encode()), Ok(payload));
        }
    }

    #[test]
    fn longer_forms_are_read_too() {
        for payload in vectors("read_payload") {
            assert!(Value::decode(&payload).is_ok(), "{payload:02x?}");
        }
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        let key_comes_twice = b"\x82\xa1a\x01\xa1a\x02"; // the host looks for that
        for payload in vectors("payload_faults").iter().filter(|payload| *payload != key_comes_twice) {
            let in_a_list_of_a_join = [b"\x91\x91", payload.as_slice()].concat();
            assert!(Value::decode(&in_a_list_of_a_join).is_err(), "{payload:02x?}");
        }
    }

    #[test]
    fn no_cut_and_no_flipped_bit_panics() {
        for payload in vectors("values") {
            for size in 0..payload.len() {
                assert!(Value::decode(&payload[..size]).is_err());
            }
            for bit in 0..8 * payload.len() {
                let mut flipped = payload.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let _ = Value::decode(&flipped);
            }
        }
    }

    #[test]
    fn an_int_beyond_the_range_cannot_be_written() {
        assert!(Value::Int(1 << 64).encode().unwrap_err().contains("outside"));
    }
}
