//! Reads payloads: every length is checked against what is there, and nothing is copied.

use rmp::Marker;

use crate::Result;
use crate::array::Array;
use crate::value::Value;

/// Levels of lists and maps: 64, and those of a join's input on top.
const MAX_DEPTH: usize = 66;
const ARRAY: u8 = 1;

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Reader { rest: payload, depth: 0 }
    }

    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err("bytes follow the value".into()) }
    }

    pub fn value(&mut self) -> Result<Value<'a>> {
        let [head] = self.bytes()?;
        Ok(match Marker::from_u8(head) {
            Marker::Null => Value::Null,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(value) => Value::Int(value.into()),
            Marker::FixNeg(value) => Value::Int(value.into()),
            Marker::U8 => Value::Int(u8::from_be_bytes(self.bytes()?).into()),
            Marker::U16 => Value::Int(u16::from_be_bytes(self.bytes()?).into()),
            Marker::U32 => Value::Int(u32::from_be_bytes(self.bytes()?).into()),
            Marker::U64 => Value::Int(u64::from_be_bytes(self.bytes()?).into()),
            Marker::I8 => Value::Int(i8::from_be_bytes(self.bytes()?).into()),
            Marker::I16 => Value::Int(i16::from_be_bytes(self.bytes()?).into()),
            Marker::I32 => Value::Int(i32::from_be_bytes(self.bytes()?).into()),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.bytes()?).into()),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.bytes()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.bytes()?)),
            marker => return self.sized(marker),
        })
    }

    /// What begins with a length.
    fn sized(&mut self, marker: Marker) -> Result<Value<'a>> {
        match marker {
            Marker::FixStr(size) => self.text(size.into()),
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let size = self.length(marker.to_u8() - Marker::Str8.to_u8())?;
                self.text(size)
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let size = self.length(marker.to_u8() - Marker::Bin8.to_u8())?;
                self.take(size).map(Value::Bytes)
            }
            Marker::FixArray(count) => self.list(count.into()),
            Marker::Array16 | Marker::Array32 => {
                let count = self.length(1 + marker.to_u8() - Marker::Array16.to_u8())?;
                self.list(count)
            }
            Marker::FixMap(count) => self.map(count.into()),
            Marker::Map16 | Marker::Map32 => {
                let count = self.length(1 + marker.to_u8() - Marker::Map16.to_u8())?;
                self.map(count)
            }
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let size = self.length(marker.to_u8() - Marker::Ext8.to_u8())?;
                self.extension(size)
            }
            Marker::FixExt1 => self.extension(1),
            Marker::FixExt2 => self.extension(2),
            Marker::FixExt4 => self.extension(4),
            Marker::FixExt8 => self.extension(8),
            Marker::FixExt16 => self.extension(16),
            _ => Err("no msgpack".into()),
        }
    }

    fn text(&mut self, size: usize) -> Result<Value<'a>> {
        let text = std::str::from_utf8(self.take(size)?).map_err(|_| "the text is no UTF-8")?;
        Ok(Value::Text(text))
    }

    fn list(&mut self, count: usize) -> Result<Value<'a>> {
        let mut members = self.room_for(count)?;
        self.nested(|reader| {
            for _ in 0..count {
                members.push(reader.value()?);
            }
            Ok(Value::List(members))
        })
    }

    fn map(&mut self, count: usize) -> Result<Value<'a>> {
        let mut entries = self.room_for(count)?;
        self.nested(|reader| {
            for _ in 0..count {
                let Value::Text(key) = reader.value()? else {
                    return Err("map keys must be text".into());
                };
                entries.push((key, reader.value()?));
            }
            Ok(Value::Map(entries))
        })
    }

    fn extension(&mut self, size: usize) -> Result<Value<'a>> {
        let [code] = self.bytes()?;
        if code != ARRAY {
            return Err(format!("extension type {} is no value", code as i8));
        }
        Array::read(self.take(size)?).map(Value::Array)
    }

    /// One level further down.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value<'a>>) -> Result<Value<'a>> {
        if self.depth == MAX_DEPTH {
            return Err("lists and maps nest to 64 levels".into());
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// An empty vector for `count` members, each of which takes at least a byte of what is left.
    fn room_for<T>(&self, count: usize) -> Result<Vec<T>> {
        let mut members = Vec::new();
        if count > self.rest.len() {
            return Err(CUT_SHORT.into());
        }
        members.try_reserve_exact(count).map_err(|_| "the value does not fit into the memory of this module")?;
        Ok(members)
    }

    /// A length of 2 to the power of `exponent` bytes.
    fn length(&mut self, exponent: u8) -> Result<usize> {
        Ok(match exponent {
            0 => u8::from_be_bytes(self.bytes()?).into(),
            1 => u16::from_be_bytes(self.bytes()?).into(),
            _ => u32::from_be_bytes(self.bytes()?) as usize,
        })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(bytes)
    }
}

const CUT_SHORT: &str = "the payload is cut short";
