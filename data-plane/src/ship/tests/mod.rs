//! Log, spool and session together, without a socket and on a disk that dies.

mod model;
