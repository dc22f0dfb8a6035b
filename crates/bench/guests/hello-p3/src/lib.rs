//! The least that a wasi:http 0.3 guest can do: a head, six bytes, the end.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

struct Hello;

wasip3::http::service::export!(Hello);

impl Guest for Hello {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let (mut stream, contents) = wit_stream::new();
        // No trailers: the default that it takes when it is dropped.
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _transmitted) = Response::new(Fields::new(), Some(contents), trailers);
        spawn_local(async move {
            stream.write_all(b"hello\n".to_vec()).await;
        });
        Ok(response)
    }
}
