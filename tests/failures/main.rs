//! What happens when guests, clients or the host fail, over real sockets.

mod trap;
