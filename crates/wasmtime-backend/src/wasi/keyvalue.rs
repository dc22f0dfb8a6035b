//! `wasi:keyvalue`, in the memory of an instance. All that it opens is one store, which counts against what the host may
//! hold for it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::data::StoreData;
use super::held::Held;

mod bindings {
    wasmtime::component::bindgen!({
        inline: r#"
            package wasi:keyvalue@0.2.0-draft;

            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
            }

            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }

            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<list<option<tuple<string, list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>)
                    -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }

            world imports {
                import store;
                import atomics;
                import batch;
            }
        "#,
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

/// Bytes of an entry besides its key and its value.
const ENTRY: usize = 96;
/// Keys that are listed at a time.
const KEYS: usize = 1000;

/// An open store.
// The bindings, which are private, have it as theirs.
#[allow(unreachable_pub)]
pub struct Bucket(());

/// What an instance has stored.
#[derive(Default)]
pub(super) struct KeyValue {
    data: BTreeMap<String, Vec<u8>>,
}

impl KeyValue {
    /// A store that begins with this data.
    pub(super) fn new(data: &[(String, String)]) -> Self {
        let pairs = data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        Self { data: pairs.collect() }
    }

    /// Returns how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.data.iter().map(|(key, value)| size(key, value)).sum()
    }

    fn put(&mut self, held: &mut Held, key: String, value: Vec<u8>) -> Result<(), store::Error> {
        let before = self.data.get(&key).map_or(0, |before| size(&key, before));
        if !held.store(before, size(&key, &value)) {
            return Err(store::Error::Other("the store is full".to_owned()));
        }
        self.data.insert(key, value);
        Ok(())
    }
}

/// The store of an instance, while it makes a call.
pub(super) struct View<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) held: &'a mut Held,
    pub(super) store: &'a mut KeyValue,
}

impl View<'_> {
    fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), store::Error> {
        self.store.put(self.held, key, value)
    }

    fn delete(&mut self, key: &str) {
        if let Some(value) = self.store.data.remove(key) {
            let _ = self.held.store(size(key, &value), 0);
        }
    }
}

fn size(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY
}

impl store::Host for View<'_> {
    fn open(
        &mut self,
        identifier: String,
    ) -> wasmtime::Result<Result<Resource<Bucket>, store::Error>> {
        if identifier.is_empty() {
            return Ok(Ok(self.table.push(Bucket(()))?));
        }
        Ok(Err(store::Error::NoSuchStore))
    }
}

impl store::HostBucket for View<'_> {
    fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, store::Error>> {
        self.table.get(&bucket)?;
        Ok(Ok(self.store.data.get(&key).cloned()))
    }

    fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        self.table.get(&bucket)?;
        Ok(self.put(key, value))
    }

    fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        self.table.get(&bucket)?;
        self.delete(&key);
        Ok(Ok(()))
    }

    fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, store::Error>> {
        self.table.get(&bucket)?;
        Ok(Ok(self.store.data.contains_key(&key)))
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> wasmtime::Result<Result<store::KeyResponse, store::Error>> {
        self.table.get(&bucket)?;
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut rest = self.store.data.keys().skip(from);
        let keys: Vec<_> = rest.by_ref().take(KEYS).cloned().collect();
        let cursor = rest.next().map(|_| (from + keys.len()) as u64);
        Ok(Ok(store::KeyResponse { keys, cursor }))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Result<u64, store::Error>> {
        self.table.get(&bucket)?;
        let other = |text: &str| store::Error::Other(text.to_owned());
        let before = match self.store.data.entry(key.clone()) {
            Entry::Vacant(_) => Ok(0),
            Entry::Occupied(entry) => str::from_utf8(entry.get())
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| other("the value is no number")),
        };
        let sum = before.and_then(|before| {
            before.checked_add(delta).ok_or_else(|| other("the sum is too large"))
        });
        Ok(sum.and_then(|sum| self.put(key, sum.to_string().into_bytes()).map(|()| sum)))
    }
}

impl batch::Host for View<'_> {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<(String, Vec<u8>)>>, store::Error>> {
        self.table.get(&bucket)?;
        let mut left = self.held.limits().call_bytes;
        let mut found = Vec::new();
        for key in keys {
            let value = self.store.data.get(&key);
            // The same key may be asked for any number of times.
            let Some(rest) = left.checked_sub(value.map_or(0, |value| size(&key, value))) else {
                let error = "the values are more than a call may take".to_owned();
                return Ok(Err(store::Error::Other(error)));
            };
            left = rest;
            found.push(value.cloned().map(|value| (key, value)));
        }
        Ok(Ok(found))
    }

    fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        self.table.get(&bucket)?;
        Ok(pairs.into_iter().try_for_each(|(key, value)| self.put(key, value)))
    }

    fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        self.table.get(&bucket)?;
        keys.iter().for_each(|key| self.delete(key));
        Ok(Ok(()))
    }
}

struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = View<'a>;
}

pub(super) fn link(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasKeyValue>(linker, StoreData::keyvalue)?;
    atomics::add_to_linker::<_, HasKeyValue>(linker, StoreData::keyvalue)?;
    batch::add_to_linker::<_, HasKeyValue>(linker, StoreData::keyvalue)
}

#[cfg(test)]
mod tests {
    use super::store::{Host as _, HostBucket as _};
    use super::*;

    const KIB: usize = 1 << 10;

    /// Puts 100 KiB there. Returns whether there was room.
    fn put(data: &mut StoreData, n: usize) -> bool {
        let bucket = data.keyvalue().open(String::new()).unwrap().unwrap();
        let set = data.keyvalue().set(bucket, format!("{n}"), vec![b'x'; 100 * KIB]).unwrap();
        set.is_ok()
    }

    #[test]
    fn a_store_is_full_at_some_time() {
        let mut data = StoreData::default();
        let most = (0..).take_while(|n| put(&mut data, *n)).count();
        assert!((30..=46).contains(&most), "of 9 MiB, half: {most}");
        assert!(put(&mut data, 1), "in place of another one");
        data.keyvalue().delete("2");
        assert!(put(&mut data, most) && !put(&mut data, most + 1));
    }

    #[test]
    fn what_is_opened_is_one_store() {
        let mut data = StoreData::default();
        data.set_keyvalue(&[("a".to_owned(), "1".to_owned())]);
        assert!(put(&mut data, 0));
        let mut view = data.keyvalue();
        let mut open = || view.open(String::new()).unwrap().unwrap();
        let (one, other, third) = (open(), open(), open());
        let keys = view.list_keys(one, None).unwrap().unwrap();
        assert_eq!((keys.keys, keys.cursor), (vec!["0".to_owned(), "a".to_owned()], None));
        let sum = atomics::Host::increment(&mut view, other, "a".to_owned(), 41).unwrap();
        assert_eq!(sum.unwrap(), 42);
        let sum = atomics::Host::increment(&mut view, third, "0".to_owned(), 1).unwrap();
        assert!(sum.is_err());
    }
}
