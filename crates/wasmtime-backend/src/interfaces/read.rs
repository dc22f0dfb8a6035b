//! From bytes to [`Interfaces`]: a walk over the sections of a component.
//!
//! Core modules are stepped over whole, components nested in this one are looked at only for their use of async.
//! What an import needs is written in a type defined earlier, so the walk keeps the component's type index space,
//! as far as it concerns imports.

use std::sync::Arc;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentTypeRef, FromReader, Parser, Payload, SectionLimited,
    TypeBounds,
};

use super::{Export, Import, Interfaces, InterfacesError, types};

pub(super) fn component(wasm: &[u8]) -> Result<Interfaces, InterfacesError> {
    header(wasm)?;
    let mut walk = Walk::default();
    let mut rest = wasm;
    let mut parser = Parser::new(0);
    let mut outer = Vec::new();
    loop {
        let at = wasm.len() - rest.len();
        let truncated = || InterfacesError::Truncated { len: wasm.len(), at };
        let payload = match parser.parse(rest, rest.is_empty())? {
            Chunk::NeedMoreData(_) => return Err(truncated()),
            Chunk::Parsed { consumed, payload } => {
                rest = &rest[consumed..];
                payload
            }
        };
        match payload {
            Payload::ModuleSection { unchecked_range: range, .. } => {
                rest = rest.get(range.len()..).ok_or_else(truncated)?;
            }
            Payload::ComponentSection { parser: inner, unchecked_range: range } => {
                // The inner parser would take a short rest for its end.
                rest.get(range.len()..).ok_or_else(truncated)?;
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::End(_) => match outer.pop() {
                Some(parent) => parser = parent,
                None => return Ok(walk.interfaces),
            },
            section if outer.is_empty() => walk.root_section(wasm, section)?,
            section => walk.nested_section(wasm, section)?,
        }
    }
}

/// Tells apart what is no component at all, which the parser puts into one error.
fn header(wasm: &[u8]) -> Result<(), InterfacesError> {
    const MAGIC: &[u8] = b"\0asm";
    if wasm.is_empty() {
        return Err(InterfacesError::Empty);
    }
    let start = &wasm[..wasm.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) {
        return Err(InterfacesError::NotWasm { start: start.escape_ascii().to_string() });
    }
    let Some(&[v0, v1, l0, l1]) = wasm.get(4..8) else {
        return Err(InterfacesError::Truncated { len: wasm.len(), at: 0 });
    };
    match (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([l0, l1])) {
        (13, 1) => Ok(()),
        (1, 0) => Err(InterfacesError::CoreModule),
        (version, layer) => Err(InterfacesError::UnknownLayer { version, layer }),
    }
}

struct Walk {
    interfaces: Interfaces,
    /// The type index space of the root: what the host must define in an instance of each type. Nothing, for
    /// types that are not of instances.
    types: Vec<Arc<[String]>>,
    nothing: Arc<[String]>,
}

impl Default for Walk {
    fn default() -> Self {
        let interfaces = Interfaces { imports: Vec::new(), exports: Vec::new(), uses_async: false };
        Walk { interfaces, types: Vec::new(), nothing: Arc::default() }
    }
}

impl Walk {
    fn root_section(&mut self, wasm: &[u8], section: Payload<'_>) -> Result<(), InterfacesError> {
        match section {
            Payload::ComponentTypeSection(types) => types::section(wasm, types.range(), |ty| {
                self.interfaces.uses_async |= ty.uses_async;
                self.types.push(ty.needs);
            }),
            Payload::ComponentAliasSection(aliases) => {
                each(aliases, |at, alias| self.alias(at, &alias))
            }
            Payload::ComponentImportSection(imports) => each(imports, |at, import| {
                let name = import.name.name;
                self.import(at, name, import.ty)
            }),
            Payload::ComponentExportSection(exports) => each(exports, |at, export| {
                let is_instance = export.kind == ComponentExternalKind::Instance;
                self.interfaces
                    .exports
                    .push(Export { name: printable(export.name.name), is_instance });
                // An export is also a new name for the thing, with an index of its own.
                if export.kind == ComponentExternalKind::Type {
                    self.types.push(self.type_at(at, export.index)?);
                }
                Ok(())
            }),
            other => self.nested_section(wasm, other),
        }
    }

    fn nested_section(&mut self, wasm: &[u8], section: Payload<'_>) -> Result<(), InterfacesError> {
        match section {
            Payload::ComponentTypeSection(types) => types::section(wasm, types.range(), |ty| {
                self.interfaces.uses_async |= ty.uses_async;
            }),
            Payload::ComponentCanonicalSection(functions) => each(functions, |_, function| {
                self.interfaces.uses_async |= is_async(&function);
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    fn import(
        &mut self,
        at: usize,
        name: &str,
        ty: ComponentTypeRef,
    ) -> Result<(), InterfacesError> {
        let needs = match ty {
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => {
                // Only a name for a type that is known already: there is nothing to provide.
                self.types.push(self.type_at(at, index)?);
                return Ok(());
            }
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                self.types.push(self.nothing.clone());
                self.nothing.clone()
            }
            ComponentTypeRef::Instance(index) => self.type_at(at, index)?,
            ComponentTypeRef::Func(_)
            | ComponentTypeRef::Value(_)
            | ComponentTypeRef::Module(_)
            | ComponentTypeRef::Component(_) => self.nothing.clone(),
        };
        let types_only = matches!(ty, ComponentTypeRef::Instance(_)) && needs.is_empty();
        self.interfaces.imports.push(Import { name: printable(name), needs, types_only });
        Ok(())
    }

    fn alias(&mut self, at: usize, alias: &ComponentAlias<'_>) -> Result<(), InterfacesError> {
        match *alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. } => {
                self.types.push(self.nothing.clone());
            }
            // The root has nothing around it, so the only outer component is itself.
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, index, .. } => {
                self.types.push(self.type_at(at, index)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn type_at(&self, at: usize, index: u32) -> Result<Arc<[String]>, InterfacesError> {
        self.types.get(index as usize).cloned().ok_or_else(|| InterfacesError::Malformed {
            what: format!("unknown type {index}, expected one below {}", self.types.len()),
            at,
        })
    }
}

fn each<'a, T: FromReader<'a>>(
    section: SectionLimited<'a, T>,
    mut visit: impl FnMut(usize, T) -> Result<(), InterfacesError>,
) -> Result<(), InterfacesError> {
    for item in section.into_iter_with_offsets() {
        let (at, item) = item?;
        visit(at, item)?;
    }
    Ok(())
}

/// Whether an engine without concurrency support rejects this function.
fn is_async(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(|option| {
                matches!(option, CanonicalOption::Async | CanonicalOption::Callback(_))
            })
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        // Tasks, subtasks, streams, futures, waitable sets, error contexts, threads, task-local context.
        _ => true,
    }
}

/// A name as it may go into a one-line message. Valid names have nothing to escape, but nothing is validated yet.
pub(super) fn printable(name: &str) -> String {
    name.escape_debug().to_string()
}

impl From<wasmparser::Error> for InterfacesError {
    fn from(error: wasmparser::Error) -> Self {
        InterfacesError::Malformed { what: error.message().replace('\n', " "), at: error.offset() }
    }
}
