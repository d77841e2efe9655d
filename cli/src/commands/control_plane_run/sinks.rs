//! The file of the sinks.

use std::path::Path;

use kt_control_plane::audit::sink::SinkSettings;
use serde::Deserialize;

use crate::exit::CliError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sinks: Vec<SinkSettings>,
}

/// Reads the file of the sinks.
pub(super) fn read(path: &Path) -> Result<Vec<SinkSettings>, CliError> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("can't read `{name}`: {error}")))?;
    let file: File = parse(&text).map_err(|error| {
        CliError::usage(format!("`{name}` is not a file of sinks: {error}"))
            .with_help("docs/reference/control-plane.md, \"Sinks\", says what can stand in it")
    })?;
    Ok(file.sinks)
}

/// Errors are one line: without the snippet that the library would draw.
fn parse(text: &str) -> Result<File, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
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
            let error = parse(text).err().unwrap().to_string();
            assert!(error.contains(what) && error.contains("line"), "{error}");
        }
    }
}
