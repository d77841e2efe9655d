//! The file of the sinks.

use std::path::Path;

use kt_control_plane::audit::sink::SinkSettings;
use serde::Deserialize;

use crate::{commands::layers, exit::CliError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sinks: Vec<SinkSettings>,
}

/// Reads the file of the sinks.
pub(super) fn read(path: &Path) -> Result<Vec<SinkSettings>, CliError> {
    let help = "docs/reference/control-plane.md, \"Sinks\", says what can stand in it";
    Ok(layers::read::<File>(path, "a file of sinks", help)?.sinks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_deployment_is_a_file_of_sinks() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/settings/audit-sinks.yaml");
        let sinks = read(&path).unwrap();
        let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["lake", "siem", "otel"]);
        assert!(sinks.iter().all(|sink| sink.to().is_ok()));
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_place() {
        for (text, what) in [
            ("sinks:\n  - {name: a, otlp: {uri: x}}\n", "uri"),
            ("sinks:\n  - {name: a, only: {verdicts: [maybe]}}\n", "maybe"),
            ("sink: []\n", "sink"),
        ] {
            let error = layers::parse::<File>(text).err().unwrap().to_string();
            assert!(error.contains(what) && error.contains("line"), "{error}");
        }
    }
}
