//! The requests on an instance: mostly one, for which nothing is allocated.

use std::ops::Deref;

use crate::view::RequestId;

#[derive(Clone, Debug, Default)]
pub(super) enum Seats {
    #[default]
    Empty,
    One(RequestId),
    /// Also when it was once more than one.
    Many(Vec<RequestId>),
}

impl Seats {
    pub(super) fn push(&mut self, request_id: RequestId) {
        match self {
            Self::Empty => *self = Self::One(request_id),
            Self::One(first) => *self = Self::Many(vec![*first, request_id]),
            Self::Many(request_ids) => request_ids.push(request_id),
        }
    }

    pub(super) fn remove(&mut self, request_id: RequestId) {
        match self {
            Self::One(one) if *one == request_id => *self = Self::Empty,
            Self::Empty | Self::One(_) => {}
            Self::Many(request_ids) => request_ids.retain(|other| *other != request_id),
        }
    }
}

impl Deref for Seats {
    type Target = [RequestId];

    fn deref(&self) -> &[RequestId] {
        match self {
            Self::Empty => &[],
            Self::One(request_id) => std::slice::from_ref(request_id),
            Self::Many(request_ids) => request_ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seats;
    use crate::arena::Arena;
    use crate::view::RequestId;

    #[test]
    fn seats_are_taken_and_left_in_any_number() {
        let mut arena = Arena::new();
        let [one, two, three] = [(); 3].map(|()| RequestId(arena.insert(())));
        let mut seats = Seats::default();
        assert_eq!(*seats, []);
        seats.push(one);
        assert_eq!(*seats, [one]);
        seats.remove(two);
        assert_eq!(*seats, [one], "another's");
        seats.remove(one);
        assert_eq!(*seats, []);
        for request_id in [one, two, three] {
            seats.push(request_id);
        }
        assert_eq!(*seats, [one, two, three]);
        seats.remove(two);
        assert_eq!(*seats, [one, three]);
        seats.remove(one);
        seats.remove(three);
        assert_eq!(*seats, []);
        seats.push(two);
        assert_eq!(*seats, [two]);
    }
}
