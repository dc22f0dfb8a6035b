//! The service that waits for its permit in `poll_ready`.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use millpond_pool_core::Serve;
use tower::Service;
use tower::load::Load;

/// A pool as a [`tower::Service`] of `http::Request<B>`.
///
/// `poll_ready` reserves a permit and waits, first come, first served, while there is none; it fails
/// once the pool drains. A clone starts without a permit. Dropping a service gives its permit
/// back, dropping a response future cancels its request, and the response body holds the
/// request's seat to its end.
///
/// ```
/// use millpond_tower_adapter::PoolService;
/// # use millpond_pool_core::{Error, Serve};
/// # use http::{Request, Response};
/// # use std::future::{Ready, ready};
/// # #[derive(Clone)] struct Echo;
/// # impl Serve<Request<&'static str>> for Echo {
/// #     type Response = Response<&'static str>;
/// #     type Error = Error;
/// #     type Permit = ();
/// #     type Reserve = Ready<Result<(), Error>>;
/// #     type Future = Ready<Result<Self::Response, Error>>;
/// #     fn try_reserve(&self) -> Result<(), Error> { Ok(()) }
/// #     fn reserve(&self) -> Self::Reserve { ready(Ok(())) }
/// #     fn serve(&self, _: (), request: Request<&'static str>) -> Self::Future {
/// #         ready(Ok(Response::new(request.into_body())))
/// #     }
/// #     fn load(&self) -> usize { 0 }
/// # }
/// use tower::ServiceExt; // oneshot: ready, then call
///
/// # let pool = Echo;
/// let service = PoolService::new(pool);
/// let response = futures::executor::block_on(service.oneshot(Request::new("hello"))).unwrap();
/// assert_eq!(*response.body(), "hello");
/// ```
pub struct PoolService<P: Serve<Request<B>>, B> {
    pool: P,
    permit: Permit<P, B>,
    body: PhantomData<fn(B)>,
}

enum Permit<P: Serve<Request<B>>, B> {
    None,
    Waits(Pin<Box<P::Reserve>>),
    Has(P::Permit),
}

impl<P: Serve<Request<B>>, B> PoolService<P, B> {
    /// A service of this pool.
    pub fn new(pool: P) -> Self {
        Self { pool, permit: Permit::None, body: PhantomData }
    }

    /// The pool.
    pub fn pool(&self) -> &P {
        &self.pool
    }
}

impl<P: Serve<Request<B>>, B> Service<Request<B>> for PoolService<P, B> {
    type Response = P::Response;
    type Error = P::Error;
    type Future = P::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        loop {
            self.permit = match &mut self.permit {
                Permit::Has(_) => return Poll::Ready(Ok(())),
                Permit::Waits(reserve) => {
                    let reserved = ready!(reserve.as_mut().poll(cx));
                    // Also after an error: a future that has ended is not polled again.
                    self.permit = Permit::None;
                    Permit::Has(reserved?)
                }
                Permit::None => match self.pool.try_reserve() {
                    Ok(permit) => Permit::Has(permit),
                    Err(_) => Permit::Waits(Box::pin(self.pool.reserve())),
                },
            }
        }
    }

    /// # Panics
    ///
    /// If `poll_ready` did not say before that the service is ready.
    fn call(&mut self, request: Request<B>) -> P::Future {
        match std::mem::replace(&mut self.permit, Permit::None) {
            Permit::Has(permit) => self.pool.serve(permit, request),
            _ => panic!("called before poll_ready said that the service is ready"),
        }
    }
}

impl<P: Serve<Request<B>>, B> Load for PoolService<P, B> {
    type Metric = usize;

    /// Requests between submission and the end of their body.
    fn load(&self) -> usize {
        self.pool.load()
    }
}

impl<P: Serve<Request<B>>, B> Clone for PoolService<P, B> {
    fn clone(&self) -> Self {
        Self::new(self.pool.clone())
    }
}

impl<P: Serve<Request<B>>, B> fmt::Debug for PoolService<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = matches!(self.permit, Permit::Has(_));
        f.debug_struct("PoolService").field("ready", &ready).finish_non_exhaustive()
    }
}
