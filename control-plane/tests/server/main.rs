//! The control plane over real connections: who may call what, the first start, draining, TLS, the store going away.

#[cfg(test)]
mod admin;
#[cfg(all(test, feature = "etcd"))]
mod cluster;
#[cfg(test)]
mod life;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod records;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod tls;
