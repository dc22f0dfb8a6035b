//! What a guest may ask for beyond the plain ABI.

use std::ops::{BitOr, BitOrAssign};

/// A set of the ABI's features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(u32);

impl Features {
    /// What the guest reads of the request's body, the next handler reads too.
    pub(crate) const BUFFER_REQUEST: Self = Self(1);
    /// The whole response is there when the guest's `handle_response` is called, and it may change it.
    pub(crate) const BUFFER_RESPONSE: Self = Self(2);
    /// Trailers can be read and set. They can be without it too, as on the reference host.
    const TRAILERS: Self = Self(4);

    const ALL: u32 = Self::BUFFER_REQUEST.0 | Self::BUFFER_RESPONSE.0 | Self::TRAILERS.0;

    /// Of these bits, those that mean something here: a guest that needs another one learns that it is
    /// not there.
    pub(crate) fn known(bits: u32) -> Self {
        Self(bits & Self::ALL)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Features {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}
