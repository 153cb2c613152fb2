//! The names of Python that a dictionary of tensors needs.

use safetensors::tensor::Dtype;

/// A class or function that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// `OrderedDict` or `Counter`: a dictionary.
    Dictionary,
    /// `torch.Size`: a tuple.
    Size,
    /// A tensor from a storage that knows its type.
    Tensor,
    /// A tensor from bytes, with a type.
    TensorOfBytes,
    /// What a module learns: a tensor.
    Parameter,
    /// A storage of numbers of this type.
    Storage(Dtype),
    /// A storage of bytes.
    Bytes,
    /// A type of number.
    Kind(Dtype),
}

impl Global {
    /// What a name means, if it is known.
    pub fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict" | "Counter") => Global::Dictionary,
            ("torch", "Size") => Global::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::TensorOfBytes,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::Parameter,
            ("torch" | "torch.storage", "UntypedStorage") => Global::Bytes,
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(kind) => Global::Storage(kind_of_storage(kind)?),
                None => Global::Kind(kind(name)?),
            },
            _ => return None,
        })
    }
}

/// The type in the name of a storage.
fn kind_of_storage(name: &str) -> Option<Dtype> {
    Some(match name {
        "Float" => Dtype::F32,
        "Double" => Dtype::F64,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        "ComplexFloat" => Dtype::C64,
        _ => return None,
    })
}

/// The type by its name in PyTorch.
fn kind(name: &str) -> Option<Dtype> {
    Some(match name {
        "float32" => Dtype::F32,
        "float64" => Dtype::F64,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::BOOL,
        "complex64" => Dtype::C64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        _ => return None,
    })
}
