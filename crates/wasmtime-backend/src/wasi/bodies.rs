//! What the host keeps of bodies besides their bytes, and would keep however large it is: trailers, and the texts of
//! errors.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{Access, FutureConsumer, FutureReader, Linker, Resource, Source};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{FieldMap, WasiHttp, WasiHttpView};

use super::fields::Release;
use super::held::{TRAILERS, size};

/// Bytes of an error's text that are passed on.
const TEXT: usize = 1 << 10;

/// Links `outgoing-body.finish` of wasi 0.2, in place of wasmtime's which takes trailers of any size, and `consume-body` of
/// 0.3, in place of one that keeps errors of any size.
pub(crate) fn link<T>(linker: &mut Linker<T>, concurrency: bool) -> wasmtime::Result<()>
where
    T: WasiHttpView + 'static,
{
    type Finish = (Resource<HostOutgoingBody>, Option<Resource<FieldMap>>);
    type Done = FutureReader<Result<(), p3::ErrorCode>>;
    linker.allow_shadowing(true);
    linker.instance("wasi:http/types@0.2.12")?.func_wrap(
        "[static]outgoing-body.finish",
        |mut store: StoreContextMut<'_, T>, (body, trailers): Finish| {
            use p2::{Host as _, HostOutgoingBody as _};
            let mut http = store.data_mut().http();
            if let Some(trailers) = &trailers {
                let fields = http.table.get_mut(trailers)?;
                let bytes = size(fields);
                if bytes > TRAILERS {
                    // As if it were dropped: what was sent does not look whole. Nothing tells whether it is a response's.
                    http.drop(body)?;
                    http.table.delete(Resource::<FieldMap>::new_own(trailers.rep()))?;
                    let bytes = u32::try_from(bytes).ok();
                    return Ok((Err(p2::ErrorCode::HttpResponseTrailerSectionSize(bytes)),));
                }
                // Without the room of those that were deleted.
                Release::default().release(fields);
            }
            Ok((match http.finish(body, trailers) {
                Ok(()) => Ok(()),
                Err(error) => Err(http.convert_error_code(error)?),
            },))
        },
    )?;
    if concurrency {
        let mut types = linker.instance("wasi:http/types@0.3.0")?;
        types.func_wrap(
            "[static]request.consume-body",
            |mut store: StoreContextMut<'_, T>, (request, done): (Resource<p3::Request>, Done)| {
                let done = shorten(&mut store, done)?;
                let access = Access::<T, WasiHttp>::new(store, T::http);
                Ok((<WasiHttp as p3::HostRequestWithStore<T>>::consume_body(
                    access, request, done,
                )?,))
            },
        )?;
        types.func_wrap(
            "[static]response.consume-body",
            |mut store: StoreContextMut<'_, T>,
             (response, done): (Resource<p3::Response>, Done)| {
                let done = shorten(&mut store, done)?;
                let access = Access::<T, WasiHttp>::new(store, T::http);
                Ok((<WasiHttp as p3::HostResponseWithStore<T>>::consume_body(
                    access, response, done,
                )?,))
            },
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// The same result, with a short text: it waits for the end that made the body, which may never ask.
fn shorten<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    done: FutureReader<Result<(), p3::ErrorCode>>,
) -> wasmtime::Result<FutureReader<Result<(), p3::ErrorCode>>> {
    let (sender, result) = oneshot::channel();
    done.pipe(store.as_context_mut(), Shorten(Some(sender)))?;
    // Without a result, all went well.
    let result = async { Ok::<_, wasmtime::Error>(result.await.unwrap_or(Ok(()))) };
    FutureReader::new(store.as_context_mut(), result)
}

struct Shorten(Option<oneshot::Sender<Result<(), p3::ErrorCode>>>);

impl<D> FutureConsumer<D> for Shorten {
    type Item = Result<(), p3::ErrorCode>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut result = None;
        source.read(store, &mut result)?;
        if let (Some(result), Some(sender)) = (result, self.0.take()) {
            let _ = sender.send(result.map_err(|mut error| {
                if let Some(text) = text(&mut error)
                    && text.as_ref().is_some_and(|text| text.len() > TEXT)
                {
                    *text = None;
                }
                error
            }));
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the text of an error, if it is of a kind that has one.
fn text(error: &mut p3::ErrorCode) -> Option<&mut Option<String>> {
    use p3::ErrorCode::*;
    match error {
        DnsError(payload) => Some(&mut payload.rcode),
        TlsAlertReceived(payload) => Some(&mut payload.alert_message),
        HttpRequestHeaderSize(Some(payload))
        | HttpRequestTrailerSize(payload)
        | HttpResponseHeaderSize(payload)
        | HttpResponseTrailerSize(payload) => Some(&mut payload.field_name),
        HttpResponseTransferCoding(text)
        | HttpResponseContentCoding(text)
        | InternalError(text) => Some(text),
        _ => None,
    }
}
