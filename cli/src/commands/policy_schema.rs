//! `kt policy schema`

use crate::{
    exit::{CliError, Exit},
    output::{Format, print},
};

/// Prints the JSON Schema of a pack; as JSON, unless YAML is asked for.
pub(crate) fn run(format: Format) -> Result<Exit, CliError> {
    let format = if format == Format::Yaml { Format::Yaml } else { Format::Json };
    print(format, &kt_policy::schema::pack(), |_| Ok(()))?;
    Ok(Exit::Success)
}
