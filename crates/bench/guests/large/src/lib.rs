//! A wasi:http 0.2 guest with about three megabytes of code, to measure how long a server takes to
//! start. Its functions differ from each other and branch, as those of a real program do; each
//! request calls one of them, so that none can be left out.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct LargeGuest;

wasip2::http::proxy::export!(LargeGuest);

impl Guest for LargeGuest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let index = target.len();
        let step = STEPS[index % 16][index / 16 % 16][index / 256 % 16];
        let mut state = [index as u32; 8];
        step(&mut state);
        let text = format!("hello {}\n", state[0]);

        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        let _ = stream.blocking_write_and_flush(text.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

type Step = fn(&mut [u32; 8]);

/// A function for each `N`.
#[inline(never)]
fn step<const N: u32>(state: &mut [u32; 8]) {
    for turn in 0..N % 7 + 2 {
        let [a, b, c, d, e, f, g, h] = *state;
        let mixed = a.wrapping_mul(N | 1) ^ b.rotate_left(N % 31) ^ turn;
        state[0] = match mixed % (N % 5 + 5) {
            0 => c.wrapping_add(d ^ N),
            1 => d.wrapping_mul(e | 3).wrapping_sub(N >> 2),
            2 => (e ^ f).rotate_right(N % 13) + 1 % (g | 1),
            3 if g > N => g - N,
            3 => g / (h | 5),
            4 => h % (N + 2),
            5 => state[(mixed as usize) % 8].leading_zeros() * N,
            _ => mixed.swap_bytes() ^ N.wrapping_mul(2_654_435_761),
        };
        state[(mixed % 7 + 1) as usize] ^= state[0].wrapping_mul(N.wrapping_mul(N) | 7);
        if state[1] & (1 << (N % 32)) != 0 {
            state[2] = state[2].wrapping_add(state[3]).rotate_left(N % 9);
            state[4] = state[5] ^ (state[6] >> (N % 11)) ^ N;
        } else {
            state[3] = state[3].wrapping_sub(state[7] ^ N);
            state[6] = state[5].wrapping_mul(N | 9) ^ state[2].count_ones();
        }
        state[7] = match state[0].wrapping_add(turn) % (N % 3 + 6) {
            0 => state[1].rotate_left(N % 29) ^ (state[2] | N),
            1 => state[3] / (state[4] | (N % 17 + 1)),
            2 if state[5] < state[6].wrapping_mul(N | 5) => state[5] ^ !N,
            2 => state[6].trailing_zeros().wrapping_mul(N ^ 0x9e37_79b9),
            3 => state[(N % 7) as usize].wrapping_shr(state[1]) ^ N.rotate_left(9),
            4 => state[0].abs_diff(N.wrapping_mul(31)) | state[2],
            _ => state[4].reverse_bits().wrapping_sub(N.wrapping_mul(977)),
        };
        for index in 1..8 {
            if state[index] < N {
                state.swap(index, index - 1);
            }
        }
    }
}

macro_rules! sixteen {
    ($one:ident, $at:expr, $by:expr) => {
        [
            $one!($at),
            $one!($at + $by),
            $one!($at + 2 * $by),
            $one!($at + 3 * $by),
            $one!($at + 4 * $by),
            $one!($at + 5 * $by),
            $one!($at + 6 * $by),
            $one!($at + 7 * $by),
            $one!($at + 8 * $by),
            $one!($at + 9 * $by),
            $one!($at + 10 * $by),
            $one!($at + 11 * $by),
            $one!($at + 12 * $by),
            $one!($at + 13 * $by),
            $one!($at + 14 * $by),
            $one!($at + 15 * $by),
        ]
    };
}

macro_rules! one {
    ($at:expr) => {
        step::<{ $at }>
    };
}

macro_rules! row {
    ($at:expr) => {
        sixteen!(one, $at, 1)
    };
}

macro_rules! square {
    ($at:expr) => {
        sixteen!(row, $at, 16)
    };
}

static STEPS: [[[Step; 16]; 16]; 16] = sixteen!(square, 1, 256);
