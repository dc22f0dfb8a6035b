//! The requests on an instance: mostly one, for which nothing is allocated.

use std::ops::Deref;

use crate::view::Ticket;

#[derive(Clone, Debug, Default)]
pub(super) enum Seats {
    #[default]
    Empty,
    One(Ticket),
    /// Also when it was once more than one.
    Many(Vec<Ticket>),
}

impl Seats {
    pub(super) fn push(&mut self, ticket: Ticket) {
        match self {
            Self::Empty => *self = Self::One(ticket),
            Self::One(first) => *self = Self::Many(vec![*first, ticket]),
            Self::Many(tickets) => tickets.push(ticket),
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        match self {
            Self::One(one) if *one == ticket => *self = Self::Empty,
            Self::Empty | Self::One(_) => {}
            Self::Many(tickets) => tickets.retain(|other| *other != ticket),
        }
    }
}

impl Deref for Seats {
    type Target = [Ticket];

    fn deref(&self) -> &[Ticket] {
        match self {
            Self::Empty => &[],
            Self::One(ticket) => std::slice::from_ref(ticket),
            Self::Many(tickets) => tickets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seats;
    use crate::arena::Arena;
    use crate::view::Ticket;

    #[test]
    fn seats_are_taken_and_left_in_any_number() {
        let mut arena = Arena::new();
        let [one, two, three] = [(); 3].map(|()| Ticket(arena.insert(())));
        let mut seats = Seats::default();
        assert_eq!(*seats, []);
        seats.push(one);
        assert_eq!(*seats, [one]);
        seats.remove(two);
        assert_eq!(*seats, [one], "another's");
        seats.remove(one);
        assert_eq!(*seats, []);
        for ticket in [one, two, three] {
            seats.push(ticket);
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
