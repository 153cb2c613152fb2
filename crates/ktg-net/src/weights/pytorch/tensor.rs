//! A tensor as a view of a storage.

use std::borrow::Cow;

use safetensors::tensor::Dtype;

/// Numbers in a file of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    /// Name of the file.
    pub key: &'a str,
    /// Type of the numbers; `None` for bytes.
    pub kind: Option<Dtype>,
    /// How many numbers, or bytes.
    pub count: usize,
}

/// A view of a storage: the element at index i, j, ... is number `offset + i * strides[0] + j * strides[1] + ...`.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    pub key: &'a str,
    pub kind: Dtype,
    /// Numbers in the storage.
    pub count: usize,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl<'a> Tensor<'a> {
    /// A view of a storage whose numbers are of this type.
    ///
    /// # Errors
    ///
    /// If it reaches out of the storage, or shows elements more than once.
    pub fn new(
        storage: Storage<'a>,
        kind: Dtype,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() {
            return Err("a tensor has other numbers of sizes and of strides".to_owned());
        }
        let count = match storage.kind {
            Some(_) => storage.count,
            None => storage.count / width(kind),
        };
        let tensor = Tensor { key: storage.key, kind, count, offset, shape, strides };
        let elements = tensor.elements().ok_or("the sizes of a tensor are too large")?;
        // An expanded tensor shows its numbers many times over, so that a small file could fill any memory.
        if elements > count || tensor.end().is_none_or(|end| end > count) {
            let (shape, key) = (&tensor.shape, tensor.key);
            return Err(format!(
                "a tensor of shape {shape:?} is larger than its storage `{key}`, which has {count} numbers"
            ));
        }
        Ok(tensor)
    }

    /// How many numbers it has; `None` if they cannot be counted.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1, |product: usize, size| product.checked_mul(*size))
    }

    /// Behind which number of the storage it ends; `None` if that cannot be counted.
    fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut last = self.offset;
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        last.checked_add(1)
    }

    /// Its numbers in row-major order, from the bytes of its storage.
    ///
    /// # Errors
    ///
    /// If the storage is smaller than the pickle says.
    pub fn bytes(&self, storage: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let (width, elements) = (width(self.kind), self.elements().unwrap_or(0));
        if storage.len() / width < self.count {
            let (key, found, count) = (self.key, storage.len(), self.count);
            return Err(format!("storage `{key}` has {found} bytes, too few for {count} numbers of {width}"));
        }
        if elements == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        if self.is_row_major() {
            return Ok(Cow::Borrowed(&storage[self.offset * width..(self.offset + elements) * width]));
        }
        let mut bytes = Vec::with_capacity(elements * width);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..elements {
            let steps: usize = index.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum();
            let start = (self.offset + steps) * width;
            bytes.extend_from_slice(&storage[start..start + width]);
            self.advance(&mut index);
        }
        Ok(Cow::Owned(bytes))
    }

    /// Whether its numbers are in row-major order without gaps.
    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
            if *size != 1 && *stride != expected {
                return false;
            }
            expected *= size;
        }
        true
    }

    /// The next index in row-major order.
    fn advance(&self, index: &mut [usize]) {
        for (digit, size) in index.iter_mut().zip(&self.shape).rev() {
            *digit += 1;
            if *digit < *size {
                return;
            }
            *digit = 0;
        }
    }
}

/// Bytes of a number.
pub(super) fn width(kind: Dtype) -> usize {
    kind.bitsize() / 8
}
