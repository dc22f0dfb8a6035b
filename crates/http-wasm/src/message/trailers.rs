//! Trailers, which a guest may change before they are there.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The trailers of one body.
#[derive(Debug, Default)]
pub(crate) struct Trailers {
    known: HeaderMap,
    /// Made before the body's own had arrived: made again on those.
    edits: Vec<Edit>,
    arrived: bool,
}

/// What a guest does to a map of headers.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Edit {
    pub(crate) fn name(&self) -> &HeaderName {
        match self {
            Self::Set(name, _) | Self::Add(name, _) | Self::Remove(name) => name,
        }
    }

    /// Bytes of the name, and of the value if there is one.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Set(name, value) | Self::Add(name, value) => name.as_str().len() + value.len(),
            Self::Remove(name) => name.as_str().len(),
        }
    }

    /// Fails if the map has no room for more.
    pub(crate) fn apply(self, map: &mut HeaderMap) -> Result<(), http::header::MaxSizeReached> {
        match self {
            Self::Set(name, value) => map.try_insert(name, value).map(drop),
            Self::Add(name, value) => map.try_append(name, value).map(drop),
            Self::Remove(name) => {
                map.remove(name);
                Ok(())
            }
        }
    }
}

impl Trailers {
    /// What is known so far.
    pub(crate) fn known(&self) -> &HeaderMap {
        &self.known
    }

    pub(crate) fn edit(&mut self, edit: Edit) -> Result<(), http::header::MaxSizeReached> {
        if !self.arrived {
            self.edits.push(edit.clone());
        }
        edit.apply(&mut self.known)
    }

    /// The body has ended, with these or with none.
    pub(crate) fn arrive(&mut self, trailers: Option<HeaderMap>) {
        if std::mem::replace(&mut self.arrived, true) {
            return;
        }
        let mut arrived = trailers.unwrap_or_default();
        for edit in self.edits.drain(..) {
            // One edit too many was refused when it was made.
            let _ = edit.apply(&mut arrived);
        }
        self.known = arrived;
    }

    /// What is sent, once the body has ended.
    pub(crate) fn take(&mut self) -> Option<HeaderMap> {
        let trailers = std::mem::take(&mut self.known);
        (!trailers.is_empty()).then_some(trailers)
    }
}

#[cfg(test)]
mod tests {
    use super::{Edit, Trailers};
    use http::{HeaderMap, HeaderName, HeaderValue};

    const NAME: HeaderName = HeaderName::from_static("grpc-status");

    fn values(trailers: &Trailers) -> Vec<&str> {
        trailers.known().get_all(NAME).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn early_changes_apply_to_arriving_trailers() {
        let value = HeaderValue::from_static;
        let mut trailers = Trailers::default();
        trailers.edit(Edit::Add(NAME, value("guest"))).unwrap();
        assert_eq!(values(&trailers), ["guest"]);
        trailers.arrive(Some(HeaderMap::from_iter([(NAME, value("own"))])));
        assert_eq!(values(&trailers), ["own", "guest"]);
        trailers.edit(Edit::Remove(NAME)).unwrap();
        assert_eq!(trailers.take(), None);
    }

    #[test]
    fn they_arrive_once() {
        let mut trailers = Trailers::default();
        trailers.arrive(None);
        trailers.edit(Edit::Set(NAME, HeaderValue::from_static("0"))).unwrap();
        trailers.arrive(Some(HeaderMap::new()));
        assert_eq!(values(&trailers), ["0"]);
    }
}
