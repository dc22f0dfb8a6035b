//! `wasi:keyvalue`, in the memory of an instance. All that it opens is one store, which counts against what the host may
//! hold for it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::data::StoreData;
use super::held::Held;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/p2/deps/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

/// Bytes of an entry besides its key and its value: its part of a node that is half full, and two allocations.
const ENTRY: usize = 160;
/// Bytes of a pair in a list, besides its key and its value.
const PAIR: usize = size_of::<Option<(String, Vec<u8>)>>();
/// Keys that are listed at a time, at most.
const KEYS: usize = 1000;

/// What an instance's store begins with, copied when it is opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Preset {
    pairs: Vec<(String, String)>,
    /// Bytes that they take in a store.
    bytes: usize,
}

impl Preset {
    pub(super) fn extend(&mut self, pairs: impl IntoIterator<Item = (String, String)>) {
        for (key, value) in pairs {
            self.bytes += size(&key, value.as_bytes());
            self.pairs.push((key, value));
        }
    }
}

/// An open store.
// The bindings, which are private, have it as theirs.
#[allow(unreachable_pub)]
pub struct Bucket(());

/// What an instance has stored.
#[derive(Default)]
pub(super) struct KeyValue {
    /// Until it is opened.
    preset: Option<Arc<Preset>>,
    /// In the order of the keys' hashes: where a list goes on does not change with what was deleted meanwhile.
    data: BTreeMap<(u64, String), Vec<u8>>,
}

impl KeyValue {
    /// A store that begins with this data.
    pub(super) fn new(preset: &Arc<Preset>) -> Self {
        Self { preset: Some(Arc::clone(preset)), data: BTreeMap::new() }
    }

    /// Returns how many bytes it takes at first.
    pub(super) fn preset_bytes(&self) -> usize {
        self.preset.as_ref().map_or(0, |preset| preset.bytes)
    }

    fn open(&mut self) {
        if let Some(preset) = self.preset.take() {
            let pairs = preset.pairs.iter();
            self.data.extend(
                pairs.map(|(key, value)| (hashed(key.clone()), value.clone().into_bytes())),
            );
        }
    }

    fn get(&self, key: String) -> Option<&Vec<u8>> {
        self.data.get(&hashed(key))
    }
}

fn hashed(key: String) -> (u64, String) {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish(), key)
}

/// The store of an instance, while it makes a call.
pub(super) struct View<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) held: &'a mut Held,
    pub(super) store: &'a mut KeyValue,
}

impl View<'_> {
    fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), store::Error> {
        let key = hashed(key);
        let before = self.store.data.get(&key).map_or(0, |before| size(&key.1, before));
        if !self.held.store(before, size(&key.1, &value)) {
            return Err(store::Error::Other("the store is full".to_owned()));
        }
        self.store.data.insert(key, value);
        Ok(())
    }

    fn delete(&mut self, key: String) {
        if let Some(((_, key), value)) = self.store.data.remove_entry(&hashed(key)) {
            let _ = self.held.store(size(&key, &value), 0);
        }
    }
}

fn size(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY
}

/// What a guest is told, or the trap of its call.
type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

impl store::Host for View<'_> {
    fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        if identifier.is_empty() {
            self.store.open();
            return Ok(Ok(self.table.push(Bucket(()))?));
        }
        Ok(Err(store::Error::NoSuchStore))
    }
}

impl store::HostBucket for View<'_> {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        self.table.get(&bucket)?;
        Ok(Ok(self.store.get(key).cloned()))
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        self.table.get(&bucket)?;
        Ok(self.put(key, value))
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        self.table.get(&bucket)?;
        self.delete(key);
        Ok(Ok(()))
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        self.table.get(&bucket)?;
        Ok(Ok(self.store.get(key).is_some()))
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Answer<store::KeyResponse> {
        self.table.get(&bucket)?;
        // The cursor is the hash of the last key that was given.
        let Some(from) = cursor.map_or(Some(0), |last| last.checked_add(1)) else {
            return Ok(Ok(store::KeyResponse { keys: Vec::new(), cursor: None }));
        };
        let (mut keys, mut bytes, mut last) = (Vec::new(), 0, None);
        for (hash, key) in self.store.data.range((from, String::new())..).map(|(key, _)| key) {
            let is_full = keys.len() >= KEYS || bytes >= self.held.limits().call_bytes;
            if is_full && last.is_some_and(|last| last != *hash) {
                return Ok(Ok(store::KeyResponse { keys, cursor: last }));
            }
            bytes += key.len();
            last = Some(*hash);
            keys.push(key.clone());
        }
        Ok(Ok(store::KeyResponse { keys, cursor: None }))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        self.table.get(&bucket)?;
        let other = |text: &str| store::Error::Other(text.to_owned());
        let before = match self.store.get(key.clone()) {
            None => Ok(0),
            Some(value) => str::from_utf8(value)
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
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        self.table.get(&bucket)?;
        let mut left = self.held.limits().call_growth();
        let mut found = Vec::new();
        for key in keys {
            let value = self.store.get(key.clone());
            // The same key may be asked for any number of times.
            let bytes = value.map_or(0, |value| key.len() + value.len()) + PAIR;
            let Some(rest) = left.checked_sub(bytes) else {
                let error = "the values are more than a call may take".to_owned();
                return Ok(Err(store::Error::Other(error)));
            };
            left = rest;
            found.push(value.cloned().map(|value| (key, value)));
        }
        Ok(Ok(found))
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        self.table.get(&bucket)?;
        Ok(pairs.into_iter().try_for_each(|(key, value)| self.put(key, value)))
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        self.table.get(&bucket)?;
        keys.into_iter().for_each(|key| self.delete(key));
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

    fn open(data: &mut StoreData) -> Resource<Bucket> {
        data.keyvalue().open(String::new()).unwrap().unwrap()
    }

    /// Puts 100 KiB there. Returns whether there was room.
    fn put(data: &mut StoreData, n: usize) -> bool {
        let bucket = open(data);
        let set = data.keyvalue().set(bucket, format!("{n}"), vec![b'x'; 100 * KIB]).unwrap();
        set.is_ok()
    }

    /// The keys from there on, and where the next ones are.
    fn list(data: &mut StoreData, cursor: Option<u64>) -> (Vec<String>, Option<u64>) {
        let bucket = open(data);
        let listed = data.keyvalue().list_keys(bucket, cursor).unwrap().unwrap();
        (listed.keys, listed.cursor)
    }

    #[test]
    fn a_store_is_full_at_some_time() {
        let mut data = StoreData::default();
        let most = (0..).take_while(|n| put(&mut data, *n)).count();
        assert!((30..=46).contains(&most), "of 9 MiB, half: {most}");
        assert!(put(&mut data, 1), "in place of another one");
        data.keyvalue().delete("2".to_owned());
        assert!(put(&mut data, most) && !put(&mut data, most + 1));
    }

    #[test]
    fn what_is_opened_is_one_store() {
        let mut data = StoreData::default();
        let mut preset = Preset::default();
        preset.extend([("a".to_owned(), "1".to_owned())]);
        data.set_keyvalue(&Arc::new(preset));
        assert!(put(&mut data, 0));
        let (mut keys, cursor) = list(&mut data, None);
        keys.sort();
        assert_eq!((keys, cursor), (vec!["0".to_owned(), "a".to_owned()], None));
        let bucket = open(&mut data);
        let sum = atomics::Host::increment(&mut data.keyvalue(), bucket, "a".to_owned(), 41);
        assert_eq!(sum.unwrap().unwrap(), 42);
        let bucket = open(&mut data);
        let sum = atomics::Host::increment(&mut data.keyvalue(), bucket, "0".to_owned(), 1);
        assert!(sum.unwrap().is_err());
    }

    #[test]
    fn a_list_goes_on_where_it_was() {
        let mut data = StoreData::default();
        let pair = |n: usize| (format!("{n}"), b"x".to_vec());
        for from in [0, 1000, 2000] {
            let (bucket, pairs) = (open(&mut data), (from..from + 1000).map(pair).collect());
            batch::Host::set_many(&mut data.keyvalue(), bucket, pairs).unwrap().unwrap();
        }
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (keys, next) = list(&mut data, cursor);
            assert!((1..=1000).contains(&keys.len()), "{}", keys.len());
            let bucket = open(&mut data);
            batch::Host::delete_many(&mut data.keyvalue(), bucket, keys.clone()).unwrap().unwrap();
            all.extend(keys);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        all.sort();
        all.dedup();
        assert_eq!((all.len(), list(&mut data, None)), (3000, (Vec::new(), None)));
        assert_eq!(list(&mut data, Some(u64::MAX)), (Vec::new(), None));
    }

    #[test]
    fn an_answer_is_bounded() {
        let mut data = StoreData::default();
        // Names of 100 KiB: as many as a call may take, and one.
        for n in 0..9_u8 {
            let (bucket, key) = (open(&mut data), format!("{n}{}", "k".repeat(100 * KIB)));
            data.keyvalue().set(bucket, key, b"x".to_vec()).unwrap().unwrap();
        }
        assert_eq!(list(&mut data, None).0.len(), 2);
        assert!(put(&mut data, 1));
        let mut get = |n: usize| {
            let (bucket, keys) = (open(&mut data), vec!["1".to_owned(); n]);
            batch::Host::get_many(&mut data.keyvalue(), bucket, keys).unwrap().is_ok()
        };
        assert!(get(3) && !get(4));
    }
}
