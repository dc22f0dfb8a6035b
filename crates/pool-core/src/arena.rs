//! A slab whose keys carry a serial number: look-ups cost one index, and a key that outlived
//! its entry finds nothing instead of a stranger.

/// Orders by age: the serial number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    serial: u64,
    index: usize,
}

impl Key {
    pub(crate) const FIRST: Self = Self { serial: 1, index: 0 };

    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

#[derive(Debug)]
pub(crate) struct Arena<T> {
    entries: Vec<Option<(u64, T)>>,
    free: Vec<usize>,
    next_serial: u64,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        // Serials start at 1: people read them in logs.
        Self { entries: Vec::new(), free: Vec::new(), next_serial: 1 }
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let serial = self.next_serial;
        self.next_serial += 1;
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index] = Some((serial, value));
                index
            }
            None => {
                self.entries.push(Some((serial, value)));
                self.entries.len() - 1
            }
        };
        Key { serial, index }
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.entries.get(key.index)? {
            Some((serial, value)) if *serial == key.serial => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.entries.get_mut(key.index)? {
            Some((serial, value)) if *serial == key.serial => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (_, value) = self.entries[key.index].take()?;
        self.free.push(key.index);
        Some(value)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let (serial, value) = entry.as_ref()?;
            Some((Key { serial: *serial, index }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut arena = Arena::new();
        let old = arena.insert('a');
        assert_eq!(arena.remove(old), Some('a'));
        let new = arena.insert('b');
        assert_eq!(arena.get(old), None);
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.get(new), Some(&'b'));
        assert!(old < new, "keys order by age, though the index was reused");
    }
}
