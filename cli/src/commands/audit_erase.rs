//! `kt audit erase`

use kt_audit::Pseudonym;
use kt_proto::v1::{self, erase_subject_request::Subject};
use serde::Serialize;
use uuid::Uuid;

use super::pack_file::counted;
use crate::{
    exit::{CliError, Exit},
    output::{Format, print},
    server::{self, ServerArgs},
};

/// Forgets a person: their name is destroyed in the control plane, and in each gateway as soon as it is connected.
///
/// Records stay, and the chain verifies as before: they have a pseudonym, and nobody can tell any more whose it is. A name
/// that comes later is not kept. It can't be undone, and asking again does no harm: it tells which gateways have yet to
/// answer. Needs the role admin.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kt audit erase dana@example.com --reference DSR-1201
  kt audit erase --pseudonym 3f0c8d5e1b7a4c2d9e6f0a1b2c3d4e5f")]
pub(crate) struct Args {
    /// The person's name, as gateways know it.
    #[arg(value_name = "NAME", required_unless_present = "pseudonym")]
    name: Option<String>,

    /// The person behind this pseudonym of a record, with all pseudonyms that they have.
    #[arg(long, value_name = "PSEUDONYM", conflicts_with = "name")]
    pseudonym: Option<Pseudonym>,

    /// Why, such as the number of a ticket; not the name. It stays in the gateways' records.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reference: String,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Erased {
    pseudonyms: Vec<String>,
    /// Sealed names that became unreadable in the control plane.
    sealed: u64,
    /// Gateways that have not answered yet.
    pending_instances: u64,
}

/// Erases.
pub(crate) fn run(format: Format, args: Args) -> Result<Exit, CliError> {
    let subject = match (args.name, args.pseudonym) {
        (_, Some(pseudonym)) => Subject::Pseudonym(pseudonym.to_bytes().to_vec()),
        (Some(name), None) if !name.is_empty() => Subject::Name(name),
        _ => return Err(CliError::usage("it is not said who is to be erased")),
    };
    let request = v1::EraseSubjectRequest {
        subject: Some(subject),
        reference: args.reference,
        request_id: Uuid::now_v7().to_string(),
    };
    let answer = server::run(&args.server, async |session| {
        let call =
            session.call(request, async |session, request| session.events().erase_subject(request).await);
        Ok(call.await?)
    })?;
    let erased = Erased {
        pseudonyms: answer.pseudonyms.iter().map(hex::encode).collect(),
        sealed: answer.sealed,
        pending_instances: answer.pending_instances,
    };
    print(format, &erased, |out| {
        let pseudonyms = counted(erased.pseudonyms.len(), "pseudonym");
        writeln!(out, "erased: {pseudonyms} in records, nobody can tell whose any more")?;
        for pseudonym in &erased.pseudonyms {
            writeln!(out, "  {pseudonym}")?;
        }
        if erased.pending_instances > 0 {
            let pending = usize::try_from(erased.pending_instances).unwrap_or(usize::MAX);
            writeln!(out, "  {} yet to answer: told when connected", counted(pending, "gateway"))?;
        }
        Ok(())
    })?;
    Ok(Exit::Success)
}
