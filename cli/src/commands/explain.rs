//! `kt explain KT0101`

use kt_policy::codes;
use serde::Serialize;

use crate::{
    exit::{CliError, Exit},
    output::{Format, print},
};

/// Explains an error code.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The code, `KT0101` for example.
    code: String,
}

#[derive(Serialize)]
struct Explanation<'a> {
    code: String,
    page: &'a str,
}

/// Prints the page of the code.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let Some(entry) = codes::lookup(&args.code) else {
        return Err(CliError::usage(format!("`{}` is not a code", args.code))
            .with_help("codes look like `KT0101`; lint prints them in brackets after `error`"));
    };
    let explanation = Explanation { code: entry.code.to_string(), page: entry.page };
    print(format, &explanation, |out| writeln!(out, "{}", entry.page.trim_end()))?;
    Ok(Exit::Success)
}
