//! What has been given to an instance that it has not yet begun.

use std::collections::VecDeque;

use crate::sync::{Mutex, lock};

/// The requests on their way to a guest that takes several. Once closed it takes no more, so that none is left in it.
///
/// ```
/// use millpond_pool_core::cell::Inbox;
///
/// let inbox = Inbox::default();
/// inbox.put("first").unwrap();
/// inbox.put("second").unwrap();
/// assert_eq!(inbox.take(), Some("first"));
/// assert_eq!(inbox.close(), ["second"]);
/// assert_eq!(inbox.put("late"), Err("late"));
/// ```
#[derive(Debug)]
pub struct Inbox<T> {
    /// `None` once it is closed.
    items: Mutex<Option<VecDeque<T>>>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { items: Mutex::new(Some(VecDeque::new())) }
    }
}

impl<T> Inbox<T> {
    /// Adds an item.
    ///
    /// # Errors
    ///
    /// Gives it back if the inbox has been closed.
    pub fn put(&self, item: T) -> Result<(), T> {
        match &mut *lock(&self.items) {
            Some(items) => {
                items.push_back(item);
                Ok(())
            }
            None => Err(item),
        }
    }

    /// Takes out the item that has been there for longest.
    pub fn take(&self) -> Option<T> {
        lock(&self.items).as_mut()?.pop_front()
    }

    /// Takes out all items; from now on there are none.
    pub fn close(&self) -> VecDeque<T> {
        lock(&self.items).take().unwrap_or_default()
    }
}
