use std::convert::Infallible;
use std::future::poll_fn;

use http_body_util::{BodyExt as _, Full};

use super::*;
use crate::upstream::limit::ConcurrencyLimit;

/// Gives as many frames, and then nothing for ever.
struct Frames(usize);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(fewer) = self.0.checked_sub(1) else { return Poll::Pending };
        self.0 = fewer;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"frame")))))
    }
}

async fn held<B: Body + Send + 'static>(body: B) -> (StallGuard<B>, ConcurrencyLimit) {
    let limit = ConcurrencyLimit::with(1, 0);
    (StallGuard::new(body, limit.take().await.unwrap()), limit)
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_is_cut() {
    // Also one whose first frame has not been asked for.
    for read in 0..3 {
        let (mut body, limit) = held(Frames(9)).await;
        for _ in 0..read {
            sleep(29).await;
            body.frame().await.unwrap().unwrap();
        }
        sleep(29).await;
        assert_eq!(limit.usage().running, 1);
        sleep(2).await;
        assert_eq!(limit.usage().running, 0, "its seat is free");
        assert!(!body.is_end_stream(), "it does not look whole");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the client has stopped reading");
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_data_is_not_cut() {
    let (mut body, limit) = held(Frames(1)).await;
    body.frame().await.unwrap().unwrap();
    let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_pending()));
    assert!(pending.await);
    sleep(3600).await;
    assert_eq!(limit.usage().running, 1);
    drop(body);
    assert_eq!(limit.usage().running, 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_frame_frees_the_place() {
    let (mut body, limit) = held(Full::new(Bytes::from_static(b"all"))).await;
    assert_eq!(body.size_hint().exact(), Some(3));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "all");
    assert_eq!(limit.usage().running, 0);
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}
