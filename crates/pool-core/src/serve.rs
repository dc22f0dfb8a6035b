//! A pool as its callers see it.

use std::future::Future;

/// Reserve a place, then spend it on a request. What adapters (tower, and others) are written
/// against, so that they need to know no backend and backends need to know no adapter.
pub trait Serve<Request>: Clone + Send + Sync + 'static {
    /// What comes back.
    type Response;
    /// What goes wrong.
    type Error;
    /// A place for one request; dropping it gives it back.
    type Permit: Send + 'static;
    /// Waits for a place, first come, first served.
    type Reserve: Future<Output = Result<Self::Permit, Self::Error>> + Send + 'static;
    /// The response to come. Dropping it cancels the request.
    type Future: Future<Output = Result<Self::Response, Self::Error>>;

    /// A place, if there is one now.
    ///
    /// # Errors
    ///
    /// When there is none, or when there will be none because the pool drains.
    fn try_reserve(&self) -> Result<Self::Permit, Self::Error>;

    /// Waits for a place.
    fn reserve(&self) -> Self::Reserve;

    /// Serves a request.
    fn serve(&self, permit: Self::Permit, request: Request) -> Self::Future;

    /// Serves a request, if there is a place now: as [`try_reserve`](Self::try_reserve) and
    /// [`serve`](Self::serve), for which there may be a shorter way.
    ///
    /// # Errors
    ///
    /// When there is none, or when there will be none because the pool drains.
    fn try_serve(&self, request: Request) -> Result<Self::Future, Self::Error> {
        Ok(self.serve(self.try_reserve()?, request))
    }

    /// A request was turned away because [`try_reserve`](Self::try_reserve) or
    /// [`try_serve`](Self::try_serve) gave no place: counts it.
    fn record_rejection(&self) {}

    /// How many requests are between submission and the end of their body.
    fn load(&self) -> usize;
}
