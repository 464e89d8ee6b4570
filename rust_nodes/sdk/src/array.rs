//! Arrays: the one extension type (docs/wire.md, section 1).

use std::borrow::Cow;

use bytemuck::Pod;

use crate::Result;
use crate::value::length;

/// The data of an array begins at a multiple of this within the whole encoded value.
const ALIGNMENT: usize = 8;
const MAX_DIMS: usize = 32;
const MAX_VALUE_BYTES: usize = 256 * 1024 * 1024;

/// What an array is made of; the number is the code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "they are their names")]
pub enum Dtype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
}

impl Dtype {
    const ALL: [Dtype; 11] = [
        Dtype::Bool,
        Dtype::Int8,
        Dtype::Int16,
        Dtype::Int32,
        Dtype::Int64,
        Dtype::Uint8,
        Dtype::Uint16,
        Dtype::Uint32,
        Dtype::Uint64,
        Dtype::Float32,
        Dtype::Float64,
    ];

    /// Bytes of one item.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::Int8 | Dtype::Uint8 => 1,
            Dtype::Int16 | Dtype::Uint16 => 2,
            Dtype::Int32 | Dtype::Uint32 | Dtype::Float32 => 4,
            Dtype::Int64 | Dtype::Uint64 | Dtype::Float64 => 8,
        }
    }
}

/// A type that arrays can be made of.
pub trait Item: Pod {
    /// Its name on the wire.
    const DTYPE: Dtype;
}

macro_rules! items {
    ($($item:ty = $dtype:ident),* $(,)?) => {
        $(impl Item for $item { const DTYPE: Dtype = Dtype::$dtype; })*
    };
}

items! {
    i8 = Int8, i16 = Int16, i32 = Int32, i64 = Int64, u8 = Uint8, u16 = Uint16, u32 = Uint32, u64 = Uint64,
    f32 = Float32, f64 = Float64,
}

/// A view of an array: C order, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    /// An array of `items`.
    ///
    /// # Panics
    /// Unless `shape` holds exactly as many.
    pub fn new<T: Item>(items: &'a [T], shape: Vec<usize>) -> Self {
        assert_eq!(items.len(), shape.iter().product::<usize>());
        Array { dtype: T::DTYPE, shape, data: bytemuck::cast_slice(items) }
    }

    /// What it is made of.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The items: a view of the payload where its alignment allows that, else a copy. None for another dtype.
    pub fn items<T: Item>(&self) -> Option<Cow<'a, [T]>> {
        (self.dtype == T::DTYPE).then(|| match bytemuck::try_cast_slice(self.data) {
            Ok(view) => Cow::Borrowed(view),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(self.data)),
        })
    }

    /// Reads the body of the extension.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self> {
        let ([dtype, dims, padding, 0], rest) = body.split_first_chunk().ok_or(WRONG_HEADER)? else {
            return Err(WRONG_HEADER.into());
        };
        let (dims, padding) = (usize::from(*dims), usize::from(*padding));
        if dims > MAX_DIMS || padding >= ALIGNMENT || rest.len() < 4 * dims + padding {
            return Err(WRONG_HEADER.into());
        }
        let dtype = *Dtype::ALL.get(usize::from(*dtype)).ok_or(WRONG_HEADER)?;
        let (shape, rest) = rest.split_at(4 * dims);
        let shape: Vec<usize> =
            shape.chunks_exact(4).map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize).collect();
        let data = &rest[padding..];
        if data_size(dtype, &shape) != Some(data.len()) {
            return Err("the data of the array is longer or shorter than its shape says".into());
        }
        if dtype == Dtype::Bool && data.iter().any(|item| *item > 1) {
            return Err("the items of a bool array are 0 and 1".into());
        }
        Ok(Array { dtype, shape, data })
    }

    /// Bytes that the extension takes at most.
    pub(crate) fn size(&self) -> usize {
        10 + 4 * self.shape.len() + ALIGNMENT + self.data.len()
    }

    /// Appends the extension to a payload.
    pub(crate) fn write(&self, payload: &mut Vec<u8>) -> Result<()> {
        let head = 4 + 4 * self.shape.len();
        let padding = (payload.len() + 6 + head).wrapping_neg() % ALIGNMENT;
        let body = length(head + padding + self.data.len())?;
        // always the longest header, so that the padding does not change where the data begins
        payload.push(rmp::Marker::Ext32.to_u8());
        payload.extend_from_slice(&body.to_be_bytes());
        payload.push(1);
        payload.extend_from_slice(&[self.dtype as u8, self.shape.len() as u8, padding as u8, 0]);
        for n in &self.shape {
            payload.extend_from_slice(&length(*n)?.to_le_bytes());
        }
        payload.resize(payload.len() + padding, 0);
        payload.extend_from_slice(self.data);
        Ok(())
    }
}

/// Bytes of an array's data; None where that is more than a value may have. A zero hides no dimension from that.
fn data_size(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let size = shape.iter().try_fold(dtype.size(), |size, n| size.checked_mul(*n.max(&1)))?;
    (size <= MAX_VALUE_BYTES).then_some(if shape.contains(&0) { 0 } else { size })
}

const WRONG_HEADER: &str = "the array's header is wrong";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn the_data_is_aligned_wherever_the_array_stands() {
        for text in ["", "a", "abc", "abcdefg"] {
            let array = Array::new(&[1.5_f64, 2.5], vec![2, 1]);
            let payload = Value::List(vec![Value::Text(text), Value::Array(array)]).encode().unwrap();
            let data = payload.len() - 16;
            assert_eq!(data % 8, 0);
            assert_eq!(payload[data..data + 8], 1.5_f64.to_le_bytes());
        }
    }

    #[test]
    fn items_are_a_view_where_they_are_aligned_and_a_copy_elsewhere() {
        let payload = Value::Array(Array::new(&[1_i32, -2], vec![2])).encode().unwrap();
        let mut shifted = vec![0; 8 + payload.len()];
        for (offset, is_view) in [(0, true), (1, false)] {
            let start = shifted.as_ptr().align_offset(8) + offset;
            shifted[start..start + payload.len()].copy_from_slice(&payload);
            let Ok(Value::Array(array)) = Value::decode(&shifted[start..start + payload.len()]) else { panic!() };
            let items = array.items::<i32>().unwrap();
            assert_eq!(*items, [1, -2]);
            assert_eq!(matches!(items, Cow::Borrowed(_)), is_view);
        }
    }

    #[test]
    fn another_dtype_has_no_such_items() {
        assert_eq!(Array::new(&[1_u8], vec![1]).items::<i8>(), None);
    }
}
