//! Header fields that are not there any more.
//!
//! A map keeps the room of the values that one of its headers had when they are deleted, and does not say that
//! it does. So the values that are set are counted, each as a header that the host is asked about; when enough
//! of them may be gone, [`release`] gives their room back.

use std::collections::HashMap;

use http::HeaderMap;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::{
    FieldMap, FieldMapError, WasiHttpCtxView, WasiHttpView, default_hooks, p2, p3,
};

/// Links `fields.set`, in place of the one that asks its host about one header whatever it is set to, and
/// `fields.clone`, in place of one whose copy takes no room until it is written to: it is counted from the start.
pub(crate) fn link<T>(linker: &mut Linker<T>, concurrency: bool) -> wasmtime::Result<()>
where
    T: WasiHttpView + 'static,
{
    type Params = (Resource<FieldMap>, String, Vec<Vec<u8>>);
    linker.allow_shadowing(true);
    linker.instance("wasi:http/types@0.2.12")?.func_wrap(
        "[method]fields.set",
        |mut store: StoreContextMut<'_, T>, (fields, name, values): Params| {
            use p2::bindings::http::types::{Host, HostFields};
            let mut http = count(store.data_mut(), &name, values.len());
            let set = HostFields::set(&mut http, fields, name, values);
            Ok((match set {
                Ok(()) => Ok(()),
                Err(error) => Err(http.convert_header_error(error)?),
            },))
        },
    )?;
    linker.instance("wasi:http/types@0.2.12")?.func_wrap(
        "[method]fields.clone",
        |mut store: StoreContextMut<'_, T>, (fields,): (Resource<FieldMap>,)| {
            use p2::bindings::http::types::HostFields;
            let mut http = store.data_mut().http();
            let copy = HostFields::clone(&mut http, fields)?;
            let _ = write(http.table.get_mut(&copy)?);
            Ok((copy,))
        },
    )?;
    if concurrency {
        linker.instance("wasi:http/types@0.3.0")?.func_wrap(
            "[method]fields.clone",
            |mut store: StoreContextMut<'_, T>, (fields,): (Resource<FieldMap>,)| {
                use p3::bindings::http::types::HostFields;
                let mut http = store.data_mut().http();
                let copy = HostFields::clone(&mut http, fields)?;
                let _ = write(http.table.get_mut(&copy)?);
                Ok((copy,))
            },
        )?;
        linker.instance("wasi:http/types@0.3.0")?.func_wrap(
            "[method]fields.set",
            |mut store: StoreContextMut<'_, T>, (fields, name, values): Params| {
                use p3::bindings::http::types::{Host, HostFields};
                let mut http = count(store.data_mut(), &name, values.len());
                let set = HostFields::set(&mut http, fields, name, values);
                Ok((match set {
                    Ok(()) => Ok(()),
                    Err(error) => Err(http.convert_header_error(error)?),
                },))
            },
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn count<'a>(data: &'a mut impl WasiHttpView, name: &str, values: usize) -> WasiHttpCtxView<'a> {
    let http = data.http();
    if let Ok(name) = name.parse() {
        for _ in 1..values {
            http.hooks.is_forbidden_header(&name);
        }
    }
    http
}

/// Gives back the room of what was deleted, in one pass over all maps of a guest.
#[derive(Default)]
pub(super) struct Release {
    /// What became of maps that several may have. They go on having one together: a guest has thousands of names for one
    /// map, of which each would be a map of its own.
    shared: HashMap<*const HeaderMap, FieldMap>,
}

impl Release {
    pub(super) fn release(&mut self, fields: &mut FieldMap) {
        let before = std::ptr::from_ref::<HeaderMap>(fields);
        if let Some(made) = self.shared.get(&before) {
            *fields = made.clone();
            return;
        }
        // Written to while it has a copy, a map is made anew, as large as it must be.
        let copy = fields.clone();
        if write(fields) == Err(FieldMapError::Immutable) {
            fields.set_mutable(0);
            let _ = write(fields);
            fields.set_immutable();
            // Only what cannot be changed is shared, see `link`.
            self.shared.insert(before, fields.clone());
        }
        drop(copy);
    }
}

/// Changes nothing.
fn write(fields: &mut FieldMap) -> Result<(), FieldMapError> {
    fields.remove_all(default_hooks(), "x-millpond-none".to_owned()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_fields_are_the_same_fields() {
        let mut fields = FieldMap::new_mutable(1 << 20);
        let values = |n| vec![b"value".to_vec(); n];
        for name in ["a", "b"] {
            fields.set(default_hooks(), name.to_owned(), values(3)).unwrap();
        }
        fields.set(default_hooks(), "a".to_owned(), values(1000)).unwrap();
        fields.remove_all(default_hooks(), "a".to_owned()).unwrap();
        let before: http::HeaderMap = fields.clone().into();
        let map = std::ptr::from_ref::<http::HeaderMap>(&fields);
        Release::default().release(&mut fields);
        assert_ne!(map, std::ptr::from_ref(&*fields), "it was made anew");
        assert_eq!(*fields, before);
        fields.set(default_hooks(), "c".to_owned(), values(1)).expect("mutable as before");

        fields.set_immutable();
        Release::default().release(&mut fields);
        let set = fields.set(default_hooks(), "d".to_owned(), values(1));
        assert_eq!(set, Err(FieldMapError::Immutable), "immutable as before");
        assert_eq!(fields.len(), 4);
    }

    #[test]
    fn a_shared_map_stays_one() {
        let mut fields = FieldMap::new_mutable(1 << 20);
        fields.set(default_hooks(), "a".to_owned(), vec![b"value".to_vec()]).unwrap();
        fields.set_immutable();
        let mut all = vec![fields; 100];
        let map = |fields: &FieldMap| std::ptr::from_ref::<HeaderMap>(fields);
        let before = map(&all[0]);
        let mut release = Release::default();
        all.iter_mut().for_each(|fields| release.release(fields));
        assert_ne!(map(&all[0]), before, "it was made anew");
        assert!(all.iter().all(|fields| map(fields) == map(&all[0])), "once");
        assert!(all.iter().all(|fields| fields.len() == 1));
    }
}
