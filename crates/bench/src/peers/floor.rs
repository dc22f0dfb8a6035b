//! Bare axum: the routes of the test guests that the workloads use, in Rust.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http_body_util::BodyExt as _;

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn router() -> Router {
    Router::new()
        .route("/hello", any(|| async { text("hello\n") }))
        .route("/fill", any(|request: Request| async move { text(vec![b'x'; number(&request)]) }))
        .route("/drain", any(drain))
        .route("/sleep", any(sleep))
}

fn text(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, TEXT)], body.into()).into_response()
}

/// The number of the only parameter.
fn number(request: &Request) -> usize {
    let query = request.uri().query().unwrap_or_default();
    query.split_once('=').and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

async fn drain(request: Request) -> Response {
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
    text(length.to_string())
}

async fn sleep(request: Request) -> Response {
    tokio::time::sleep(Duration::from_millis(number(&request) as u64)).await;
    text("slept\n")
}
