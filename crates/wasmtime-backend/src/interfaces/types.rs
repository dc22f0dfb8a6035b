//! Types of the component layer, read without recursion.
//!
//! Types of instances and components may hold further ones, to any depth. wasmparser reads them recursively and
//! limits the depth only when it validates, so a file of 30 kB could overflow the reader's stack, which ends the
//! process. Here the open types are a list with a limit.

use std::ops::Range;
use std::sync::Arc;

use wasmparser::{
    BinaryReader, ComponentDefinedType, ComponentType, ComponentTypeDeclaration, ComponentTypeRef,
    TypeBounds,
};

use super::InterfacesError;
use super::read::printable;

/// What matters about a type.
#[derive(Default)]
pub(super) struct Summary {
    /// What the host has to define in an instance of this type. Types with a definition of their own are no part of
    /// it: the guest brings those along. Empty for types that are not of instances.
    pub(super) needs: Arc<[String]>,
    /// Whether an engine without concurrency support rejects this type.
    pub(super) uses_async: bool,
}

/// Reads the section of types at `range`.
pub(super) fn section(
    wasm: &[u8],
    range: Range<usize>,
    mut visit: impl FnMut(Summary),
) -> Result<(), InterfacesError> {
    let mut reader = BinaryReader::new(&wasm[range.clone()], range.start);
    for _ in 0..reader.read_var_u32()? {
        visit(summary(&mut reader)?);
    }
    Ok(())
}

/// Far more than any tool writes. (Validation has a limit of 100 for the depth of values.)
const MAX_DEPTH: usize = 100;

const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;
const DECLARED_TYPE: u8 = 0x01;

fn summary(reader: &mut BinaryReader<'_>) -> Result<Summary, InterfacesError> {
    let mut needs = Vec::new();
    let mut uses_async = false;
    // For each type that is open, outermost first, how many of its declarations are still to come.
    let mut open: Vec<u32> = Vec::new();
    loop {
        // A type begins here. It is one that holds others, or it is read whole.
        match peek(reader)? {
            COMPONENT | INSTANCE => {
                let at = reader.original_position();
                if open.len() == MAX_DEPTH {
                    let what =
                        format!("types nested too deep, expected at most {MAX_DEPTH} levels");
                    return Err(InterfacesError::Malformed { what, at });
                }
                reader.read_u8()?;
                open.push(reader.read_var_u32()?);
            }
            _ => uses_async |= is_async(&reader.read()?),
        }
        // Then come declarations, up to the next type among them.
        loop {
            let depth = open.len();
            let Some(left) = open.last_mut() else {
                return Ok(Summary { needs: needs.into(), uses_async });
            };
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            if peek(reader)? == DECLARED_TYPE {
                reader.read_u8()?;
                break;
            }
            match reader.read()? {
                ComponentTypeDeclaration::Export {
                    ty: ComponentTypeRef::Type(TypeBounds::Eq(_)),
                    ..
                } => {}
                ComponentTypeDeclaration::Export { name, .. } if depth == 1 => {
                    needs.push(printable(name.name))
                }
                _ => {}
            }
        }
    }
}

fn peek(reader: &BinaryReader<'_>) -> Result<u8, InterfacesError> {
    Ok(reader.clone().read_u8()?)
}

fn is_async(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(function) => function.async_,
        ComponentType::Defined(
            ComponentDefinedType::Future(_) | ComponentDefinedType::Stream(_),
        ) => true,
        _ => false,
    }
}
