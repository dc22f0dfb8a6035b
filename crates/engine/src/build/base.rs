//! What the builders of pools have in common.

use std::hash::{BuildHasher as _, RandomState};

use millpond_pool_core::InstanceId;
use millpond_pool_core::expiration::{self, BoxExpiration, InstanceExpiration};

use crate::engine::CacheChoice;

/// Makes the policy of a new instance.
pub type MakeExpiration = Box<dyn Fn(InstanceId) -> BoxExpiration + Send + Sync>;

/// What each builder of a pool has, whatever its guests are.
///
/// ```
/// use millpond_engine::{BuilderBase, CacheChoice};
/// use millpond_pool_core::expiration::{InstanceExpiration, memory_watermark};
///
/// let mut base = BuilderBase::default().wrap_expiration(|policy| policy.or(memory_watermark(16 << 20)));
/// base.cache = CacheChoice::Off;
/// ```
pub struct BuilderBase {
    /// At first [`expiration::standard`].
    pub expiration: MakeExpiration,
    /// Where compiled code is kept.
    pub cache: CacheChoice,
    /// What randomness is drawn from. At first another one each time.
    pub seed: u64,
}

impl Default for BuilderBase {
    fn default() -> Self {
        let expiration = Box::new(|_| expiration::boxed(expiration::standard()));
        Self { expiration, cache: CacheChoice::Default, seed: RandomState::new().hash_one(0) }
    }
}

impl BuilderBase {
    /// Makes each instance's policy from what it was before.
    #[must_use]
    pub fn wrap_expiration<E: InstanceExpiration>(
        self,
        wrap: impl Fn(BoxExpiration) -> E + Send + Sync + 'static,
    ) -> Self {
        let before = self.expiration;
        let expiration = Box::new(move |id| expiration::boxed(wrap(before(id))));
        Self { expiration, ..self }
    }
}

impl std::fmt::Debug for BuilderBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cache, seed, expiration: _ } = self;
        f.debug_struct("BuilderBase")
            .field("cache", cache)
            .field("seed", seed)
            .finish_non_exhaustive()
    }
}
