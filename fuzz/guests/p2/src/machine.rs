//! One byte is a call, those after it are its arguments. What calls return is kept, and an argument picks one of these.

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, FutureTrailers, IncomingBody, IncomingRequest,
    IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions,
    ResponseOutparam,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream};

use crate::words;

/// What is dropped first at the end comes first: children before their parents.
pub(crate) struct Machine {
    script: std::vec::IntoIter<u8>,
    pollables: Vec<Pollable>,
    outputs: Vec<OutputStream>,
    inputs: Vec<InputStream>,
    bodies: Vec<OutgoingBody>,
    incoming_bodies: Vec<IncomingBody>,
    trailers: Vec<FutureTrailers>,
    fields: Vec<Fields>,
    responses: Vec<OutgoingResponse>,
    requests: Vec<OutgoingRequest>,
    options: Vec<RequestOptions>,
    futures: Vec<FutureIncomingResponse>,
    incoming: Vec<IncomingResponse>,
    request: IncomingRequest,
    out: Option<ResponseOutparam>,
    near: String,
}

fn take<T>(from: &mut Vec<T>, n: u8) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(usize::from(n) % from.len()))
}

fn pick<T>(from: &[T], n: u8) -> Option<&T> {
    (!from.is_empty()).then(|| &from[usize::from(n) % from.len()])
}

impl Machine {
    pub(crate) fn new(script: Vec<u8>, request: IncomingRequest, out: ResponseOutparam) -> Self {
        let near = String::from_utf8(request.headers().get("x-near").concat()).unwrap_or_default();
        Self {
            script: script.into_iter(),
            pollables: Vec::new(),
            outputs: Vec::new(),
            inputs: Vec::new(),
            bodies: Vec::new(),
            incoming_bodies: Vec::new(),
            trailers: Vec::new(),
            fields: Vec::new(),
            responses: Vec::new(),
            requests: Vec::new(),
            options: Vec::new(),
            futures: Vec::new(),
            incoming: Vec::new(),
            request,
            out: Some(out),
            near,
        }
    }

    /// To the end of the script, or of the instance.
    pub(crate) fn run(mut self) {
        while let Some(call) = self.script.next() {
            // What cannot be done now is passed over.
            let _ = self.call(call);
        }
    }

    fn arg(&mut self) -> u8 {
        self.script.next().unwrap_or(0)
    }

    /// Small ones, and a few that are not.
    fn len(&mut self) -> u64 {
        match self.arg() {
            255 => u64::MAX,
            254 => 1 << 32,
            253 => 200_000,
            small => u64::from(small) << (small >> 5),
        }
    }

    fn call(&mut self, call: u8) -> Option<()> {
        let a = self.arg();
        match call % 56 {
            // Fields.
            0 => self.fields.push(Fields::new()),
            1 => {
                let list: Vec<_> = (0..a % 8)
                    .map(|_| (words::name(self.arg()), words::value(self.arg())))
                    .collect();
                self.fields.push(Fields::from_list(&list).ok()?);
            }
            2 | 3 => {
                let (name, value) = (words::name(self.arg()), words::value(self.arg()));
                pick(&self.fields, a)?.append(&name, &value).ok()?;
            }
            4 => {
                let (name, value) = (words::name(self.arg()), words::value(self.arg()));
                pick(&self.fields, a)?.set(&name, &[value.clone(), value]).ok()?;
            }
            5 => {
                let name = words::name(self.arg());
                pick(&self.fields, a)?.delete(&name).ok()?;
            }
            6 => {
                let name = words::name(self.arg());
                let fields = pick(&self.fields, a)?;
                let _ = (fields.get(&name), fields.has(&name), fields.entries());
            }
            7 => self.fields.push(pick(&self.fields, a)?.clone()),
            8 => drop(take(&mut self.fields, a)?),

            // The answer.
            9..12 => {
                let fields = take(&mut self.fields, a).unwrap_or_else(Fields::new);
                self.responses.push(OutgoingResponse::new(fields));
            }
            12 => {
                let status = u16::from(self.arg()) * 4;
                pick(&self.responses, a)?.set_status_code(status).ok()?;
            }
            13 => self.fields.push(pick(&self.responses, a)?.headers()),
            14..17 => self.bodies.push(pick(&self.responses, a)?.body().ok()?),
            17..20 => {
                let response = take(&mut self.responses, a)?;
                ResponseOutparam::set(self.out.take()?, Ok(response));
            }
            20 => ResponseOutparam::set(self.out.take()?, Err(words::error(a))),
            21 => drop(self.out.take()?),
            22 => drop(take(&mut self.responses, a)?),

            // Bodies that go out.
            23 | 24 => self.outputs.push(pick(&self.bodies, a)?.write().ok()?),
            25 => drop(pick(&self.outputs, a)?.check_write().ok()?),
            26 => {
                let len = self.len().min(1 << 20) as usize;
                pick(&self.outputs, a)?.write(&vec![b'x'; len]).ok()?;
            }
            27..30 => {
                let len = self.len().min(4096) as usize;
                pick(&self.outputs, a)?.blocking_write_and_flush(&vec![b'x'; len]).ok()?;
            }
            30 => pick(&self.outputs, a)?.flush().ok()?,
            31 => pick(&self.outputs, a)?.blocking_flush().ok()?,
            32 => {
                let len = self.len();
                let from = pick(&self.inputs, self.script.next().unwrap_or(0))?;
                pick(&self.outputs, a)?.splice(from, len).ok()?;
            }
            33 => self.pollables.push(pick(&self.outputs, a)?.subscribe()),
            34 | 35 => drop(take(&mut self.outputs, a)?),
            36 | 37 => {
                let body = take(&mut self.bodies, a)?;
                let trailers = Fields::new();
                trailers.append("x-done", b"1").ok()?;
                if self.arg() & 1 == 1 {
                    trailers.append(&words::name(self.arg()), &words::value(self.arg())).ok();
                }
                OutgoingBody::finish(body, Some(trailers)).ok()?;
            }
            38 => drop(take(&mut self.bodies, a)?),

            // Requests that go out.
            39 => {
                let fields = take(&mut self.fields, a).unwrap_or_else(Fields::new);
                let request = OutgoingRequest::new(fields);
                request.set_method(&words::method(self.arg())).ok();
                request.set_scheme(words::scheme(self.arg()).as_ref()).ok();
                request
                    .set_authority(words::authority(self.arg(), &self.near.clone()).as_deref())
                    .ok();
                request.set_path_with_query(words::path(self.arg()).as_deref()).ok();
                self.requests.push(request);
            }
            40 => self.bodies.push(pick(&self.requests, a)?.body().ok()?),
            41 => {
                let options = RequestOptions::new();
                options.set_connect_timeout(Some(self.len())).ok();
                options.set_first_byte_timeout(Some(self.len())).ok();
                options.set_between_bytes_timeout(Some(self.len())).ok();
                self.options.push(options);
            }
            42 | 43 => {
                let request = take(&mut self.requests, a)?;
                let options = take(&mut self.options, a);
                self.futures.push(outgoing_handler::handle(request, options).ok()?);
            }
            44 => {
                let future = pick(&self.futures, a)?;
                if self.script.next().unwrap_or(0) & 1 == 1 {
                    future.subscribe().block();
                }
                self.incoming.push(future.get()?.ok()?.ok()?);
            }
            45 => drop(take(&mut self.futures, a)?),
            46 => {
                let response = pick(&self.incoming, a)?;
                let _ = (response.status(), response.headers().entries());
                self.incoming_bodies.push(response.consume().ok()?);
            }

            // Bodies that come in.
            47 => self.incoming_bodies.push(self.request.consume().ok()?),
            48 => self.inputs.push(pick(&self.incoming_bodies, a)?.stream().ok()?),
            49 => {
                let len = self.len();
                let input = pick(&self.inputs, a)?;
                match self.script.next().unwrap_or(0) % 4 {
                    0 => drop(input.read(len).ok()?),
                    1 => drop(input.skip(len).ok()?),
                    2 => drop(input.blocking_read(len).ok()?),
                    _ => drop(input.blocking_skip(len).ok()?),
                }
            }
            50 => self.trailers.push(IncomingBody::finish(take(&mut self.incoming_bodies, a)?)),
            51 => drop(pick(&self.trailers, a)?.get()?.ok()?.ok()?),

            // Waiting, and the end.
            52 => {
                let pollables: Vec<&Pollable> = self.pollables.iter().collect();
                if !pollables.is_empty() {
                    poll(&pollables);
                }
            }
            53 => match a % 8 {
                0 => drop(take(&mut self.pollables, a)?),
                1 => self.pollables.push(pick(&self.inputs, a)?.subscribe()),
                2 => self.pollables.push(pick(&self.futures, a)?.subscribe()),
                3 => self.pollables.push(pick(&self.trailers, a)?.subscribe()),
                4 => drop(take(&mut self.inputs, a)?),
                5 => drop(take(&mut self.incoming, a)?),
                6 => drop(take(&mut self.incoming_bodies, a)?),
                _ => self.pollables.push(monotonic_clock::subscribe_duration(u64::from(a) << 20)),
            },
            54 => monotonic_clock::subscribe_duration(u64::from(a) << 24).block(),
            _ => match a {
                0..32 => core::arch::wasm32::unreachable(),
                32..48 => wasip2::cli::exit::exit_with_code(a),
                48 => drop(wasip2::random::random::get_random_bytes(100_000)),
                49..64 => println!("printed {a}"),
                _ => {}
            },
        }
        Some(())
    }
}
