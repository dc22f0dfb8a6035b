//! What a module exports, imports and can do, read before it is compiled.

use std::fmt;

use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef, ValType,
};

use crate::host;
use crate::host::guest_memory::MEMORY;

/// The guest's own functions.
pub(crate) const HANDLE_REQUEST: &str = "handle_request";
pub(crate) const HANDLE_RESPONSE: &str = "handle_response";

/// Names in a message: it is one line, and a module may import thousands.
const SHOWN: usize = 8;

/// What is known of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModuleInfo {
    /// `handle_response` does nothing, whatever it is given: there is no need to call it.
    pub(crate) passes_responses: bool,
    /// It can ask for the head of the request or the response, so these are kept for its `handle_response`.
    pub(crate) sees_heads: bool,
    /// It wants WASI preview 1.
    pub(crate) wasi: bool,
}

/// Why a module is no http-wasm guest.
#[derive(Debug)]
pub(crate) enum ModuleError {
    Malformed(wasmparser::BinaryReaderError),
    Component,
    /// No such export, or not with this signature.
    Export {
        name: &'static str,
        expected: &'static str,
        found: Option<String>,
    },
    /// The host does not provide these imports.
    Imports(Vec<String>),
}

/// Reads a module in the binary format.
pub(crate) fn read(bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
    if Parser::is_component(bytes) {
        return Err(ModuleError::Component);
    }
    let module = Module::read(bytes).map_err(ModuleError::Malformed)?;
    module.check()
}

/// The sections that matter here.
#[derive(Default)]
struct Module<'a> {
    types: Vec<Option<FuncType>>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imported_functions: usize,
    imports: Vec<(&'a str, &'a str, bool)>,
    /// Of each memory: whether threads share it. None is imported.
    shared: Vec<bool>,
    exports: Vec<(&'a str, ExternalKind, u32)>,
    /// Of each function of its own: whether it does nothing.
    empty: Vec<bool>,
}

impl<'a> Module<'a> {
    fn read(bytes: &'a [u8]) -> wasmparser::Result<Self> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.into_types() {
                            module.types.push(match ty.composite_type.inner {
                                CompositeInnerType::Func(ty) => Some(ty),
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let function = match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => Some(ty),
                            _ => None,
                        };
                        module.functions.extend(function);
                        module.imports.push((import.module, import.name, function.is_some()));
                    }
                    module.imported_functions = module.functions.len();
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        module.functions.push(ty?);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        module.shared.push(memory?.shared);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        module.exports.push((export.name, export.kind, export.index));
                    }
                }
                Payload::CodeSectionEntry(body) => module.empty.push(is_empty(&body)?),
                _ => {}
            }
        }
        Ok(module)
    }

    fn check(&self) -> Result<ModuleInfo, ModuleError> {
        let unknown: Vec<_> = self
            .imports
            .iter()
            .filter(|(module, name, function)| !(*function && host::provides(module, name)))
            // Any text is a name, and this one goes to a terminal or a log.
            .map(|(module, name, _)| format!("{module}.{name}").escape_debug().to_string())
            .collect();
        if !unknown.is_empty() {
            return Err(ModuleError::Imports(unknown));
        }
        self.require_memory()?;
        self.require(HANDLE_REQUEST, "func () -> (i64)", &[], &[ValType::I64])?;
        let (i32s, expected) = ([ValType::I32, ValType::I32], "func (i32, i32) -> ()");
        let response = self.require(HANDLE_RESPONSE, expected, &i32s, &[])?;
        let own = usize::try_from(response).ok();
        let own = own.and_then(|index| index.checked_sub(self.imported_functions));
        let imports = |test: fn(&str, &str) -> bool| {
            self.imports.iter().any(|(module, name, _)| test(module, name))
        };
        Ok(ModuleInfo {
            passes_responses: own.is_some_and(|own| self.empty.get(own) == Some(&true)),
            sees_heads: imports(host::shows_heads),
            wasi: imports(|module, _| module == host::WASI),
        })
    }

    fn require_memory(&self) -> Result<(), ModuleError> {
        let fail = |found| Err(ModuleError::Export { name: MEMORY, expected: "memory", found });
        match self.exports.iter().find(|(name, ..)| *name == MEMORY) {
            Some((_, ExternalKind::Memory, index)) => match self.shared.get(*index as usize) {
                Some(true) => fail(Some("shared memory".to_owned())),
                _ => Ok(()),
            },
            other => fail(other.map(|(_, kind, _)| format!("{kind:?}").to_lowercase())),
        }
    }

    /// The index of an exported function.
    fn require(
        &self,
        name: &'static str,
        expected: &'static str,
        params: &[ValType],
        results: &[ValType],
    ) -> Result<u32, ModuleError> {
        let found = self.exports.iter().find(|(exported, ..)| *exported == name);
        let fail = |found| Err(ModuleError::Export { name, expected, found });
        let Some((_, kind, index)) = found else { return fail(None) };
        if !matches!(kind, ExternalKind::Func | ExternalKind::FuncExact) {
            return fail(Some(format!("{kind:?}").to_lowercase()));
        }
        let ty = self.functions.get(*index as usize);
        let ty = ty.and_then(|ty| self.types.get(*ty as usize)?.as_ref());
        match ty {
            Some(ty) if ty.params() == params && ty.results() == results => Ok(*index),
            other => fail(other.map(|ty| format!("func {}", signature(ty)))),
        }
    }
}

/// Whether a function does nothing at all.
fn is_empty(body: &wasmparser::FunctionBody<'_>) -> wasmparser::Result<bool> {
    for operator in body.get_operators_reader()? {
        if !matches!(operator?, Operator::Nop | Operator::Return | Operator::End) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn signature(ty: &FuncType) -> String {
    let list =
        |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(ty.params()), list(ty.results()))
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "is no WebAssembly module: {error}"),
            Self::Component => f.write_str(
                "is a component; http-wasm guests are core modules, built for instance for wasm32-wasip1",
            ),
            Self::Export { name, expected, found: None } => {
                write!(f, "is no http-wasm guest: it does not export {name}: {expected}")
            }
            Self::Export { name, expected, found: Some(found) } => {
                write!(f, "is no http-wasm guest: it exports {name}: {found}, expected {expected}")
            }
            Self::Imports(imports) => {
                let (shown, more) = imports.split_at(imports.len().min(SHOWN));
                write!(f, "has unsupported imports: {}", shown.join(", "))?;
                if more.is_empty() { Ok(()) } else { write!(f, " and {} more", more.len()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModuleError, ModuleInfo, read};

    const REST: &str = r#"
        (memory (export "memory") 1)
        (func (export "handle_request") (result i64) (i64.const 1))"#;

    fn read_text(text: &str) -> Result<ModuleInfo, ModuleError> {
        read(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn an_empty_response_handler_is_skipped() {
        let response = |code: &str| {
            let code = format!(r#"(func (export "handle_response") (param i32 i32) {code})"#);
            read_text(&format!("(module {REST} {code})")).unwrap().passes_responses
        };
        assert!(response(""));
        assert!(response("nop return"));
        assert!(!response("unreachable"));
        assert!(!response("(drop (local.get 0))"), "dead code is not recognized");
    }

    #[test]
    fn an_imported_response_handler_is_called() {
        let text = format!(
            r#"(module
                (import "http_handler" "log" (func $log (param i32 i32 i32)))
                (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
                {REST}
                (func $own (param i32 i32))
                (func (export "handle_response") (param i32 i32) (call $own (i32.const 0) (i32.const 0))))"#
        );
        let info = ModuleInfo { passes_responses: false, sees_heads: false, wasi: true };
        assert_eq!(read_text(&text).unwrap(), info);
    }

    #[test]
    fn errors_name_the_missing_and_the_expected() {
        let error = |text: &str| read_text(text).unwrap_err().to_string();
        assert_eq!(error("(module)"), "is no http-wasm guest: it does not export memory: memory");
        assert_eq!(
            error(&format!("(module {REST})")),
            "is no http-wasm guest: it does not export handle_response: func (i32, i32) -> ()"
        );
        assert_eq!(
            error(&format!(r#"(module {REST} (func (export "handle_response") (param i64)))"#)),
            "is no http-wasm guest: it exports handle_response: func (i64) -> (), expected func (i32, i32) -> ()"
        );
        assert_eq!(
            error(
                r#"(module (import "env" "now" (func)) (import "http_handler" "get_time" (func)))"#
            ),
            "has unsupported imports: env.now, http_handler.get_time"
        );
        let names: String =
            (0..10).map(|n| format!(r#"(import "\1b[31m\n" "{n}" (func))"#)).collect();
        let all = error(&format!("(module {names})"));
        assert!(all.starts_with(r"has unsupported imports: \u{1b}[31m\n.0, "), "{all}");
        assert!(all.ends_with(".7 and 2 more"), "{all}");
        let shared = REST.replace("\"memory\") 1)", "\"memory\") 1 1 shared)");
        assert_eq!(
            error(&format!("(module {shared})")),
            "is no http-wasm guest: it exports memory: shared memory, expected memory"
        );
        assert!(error("(component)").starts_with("is a component"));
    }
}
