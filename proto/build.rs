//! Compiles the .proto files with protox, so that no protoc is needed for them.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 8] = [
    "keeptrusts/v1/audit.proto",
    "keeptrusts/v1/common.proto",
    "keeptrusts/v1/delivery.proto",
    "keeptrusts/v1/fleet.proto",
    "keeptrusts/v1/key.proto",
    "keeptrusts/v1/pack.proto",
    "keeptrusts/v1/token.proto",
    "keeptrusts/store/v1/store.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=keeptrusts");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("keeptrusts.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".keeptrusts.v1.SignedStatement.statement")
        .bytes(".keeptrusts.v1.FetchPackResponse.chunk")
        .bytes(".keeptrusts.v1.DownloadPackResponse.chunk")
        .bytes(".keeptrusts.v1.UploadPackRequest.source")
        .bytes(".keeptrusts.v1.CheckPackRequest.source")
        .bytes(".keeptrusts.v1.ShipBatch.frames")
        .bytes(".keeptrusts.v1.StoredEvent.payload")
        .bytes(".keeptrusts.v1.ExportEventsResponse.chunk")
        // Maps in order, so that the same message has the same bytes.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
