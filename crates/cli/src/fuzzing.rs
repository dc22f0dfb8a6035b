//! What fuzzers reach. It is no interface: it changes with what it leads to.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser as _;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower::ServiceExt as _;
use tower::util::BoxCloneService;

use crate::config::args::{self, Cli, Command};
use crate::config::settings::Settings;
use crate::error::BoxError;
use crate::listen::{Pacing, RequestBody, Traffic, connection};

/// Answers requests.
pub type Service<B> =
    BoxCloneService<Request<UnsyncBoxBody<Bytes, BoxError>>, Response<B>, Infallible>;

/// Serves one connection to its end, as one that was accepted. It is told to finish when `stopping` loses its sender.
pub fn connection<IO, B>(
    io: IO,
    service: Service<B>,
    stopping: watch::Receiver<()>,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
    let service = BoxCloneService::new(service.map_request(boxed));
    let (traffic, pacing) = (Arc::<Traffic>::default(), Pacing::default());
    Box::pin(connection::drive(traffic, pacing, (io, peer), service, stopping))
}

fn boxed(request: Request<RequestBody>) -> Request<UnsyncBoxBody<Bytes, BoxError>> {
    request.map(|body| body.map_err(BoxError::from).boxed_unsync())
}

/// Reads the words of a command line, and the configuration file if they name one, as a start does. Returns the
/// settings in some form, or the line that says what is wrong; asked for help, nothing.
///
/// # Errors
///
/// With the line.
pub fn settings(words: &[String]) -> Result<String, String> {
    let words = ["millpond", "serve"].into_iter().chain(words.iter().map(String::as_str));
    let Command::Serve(flags) = match Cli::try_parse_from(words) {
        Ok(cli) => cli.command,
        Err(help) if !help.use_stderr() || args::is_help(&help) => return Ok(String::new()),
        Err(error) => return Err(args::one_line(&error).to_string()),
    };
    let settings = Settings::resolve(*flags).map_err(|error| error.to_string())?;
    Ok(format!("{settings:?}"))
}
