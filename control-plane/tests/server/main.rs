//! The control plane over real connections: who may call what, the first start, draining, TLS, the store going away.

mod admin;
mod life;
mod matrix;
mod plane;
mod restored;
mod tls;
