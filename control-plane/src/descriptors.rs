//! The methods of our services, as the descriptors tell them: what tests enumerate.

use prost::Message as _;

/// The path of every method: `/keeptrusts.v1.PackService/CheckPack`.
pub(crate) fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(kt_proto::DESCRIPTORS).unwrap();
    let mut paths = Vec::new();
    for file in set.file {
        let package = file.package.unwrap_or_default();
        for service in file.service {
            let name = service.name.unwrap_or_default();
            paths.extend(service.method.iter().map(|method| format!("/{package}.{name}/{}", method.name())));
        }
    }
    paths
}
