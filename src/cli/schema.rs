//! `isoplan schema`

use clap::builder::{PossibleValue, PossibleValuesParser};
use schemars::JsonSchema;
use serde_json::Value;

use super::{Output, apply, check, confirm, discover, explain, install, lab, plan, probe, remove, rollback};
use crate::error::{Exit, Failure};
use crate::plan::JSON_VERSION;
use crate::render::json::DesiredJson;
use crate::render::meaning::DiffJson;
use crate::saved::{PlanBody, SnapshotBody};
use crate::schema;
use crate::status::Status;
use crate::verify::report::{ComparisonJson, VerificationJson};
use crate::vigil::NoticeJson;

/// Prints a JSON Schema: of the topology file, so that an editor completes and checks it, or of what isoplan prints
/// with --json and saves. For an editor:
///
///   isoplan schema > isoplan.schema.json
///
/// and `#:schema ./isoplan.schema.json` in the first line of the topology (docs/topology.md).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Of what
    #[arg(value_name = "WHAT", value_parser = kinds(), hide_possible_values = true, default_value = TOPOLOGY)]
    what: String,
    /// List what there are schemas of
    #[arg(long, exclusive = true)]
    list: bool,
}

/// The word for the topology file.
const TOPOLOGY: &str = "topology";

/// Something that there is a schema of.
struct Document {
    /// `kind` of a document, or [`TOPOLOGY`].
    kind: &'static str,
    /// What it is, for the list and as the title.
    what: &'static str,
    schema: fn(&Self) -> Value,
}

impl Document {
    /// The topology file.
    const fn topology() -> Self {
        Self { kind: TOPOLOGY, what: "the topology file", schema: |_| schema::topology() }
    }

    /// A document of that type.
    const fn of<T: JsonSchema>(kind: &'static str, what: &'static str) -> Self {
        Self { kind, what, schema: |this| schema::document::<T>(this.kind, JSON_VERSION, this.what) }
    }
}

/// All, in the order of `docs/json.md`.
const DOCUMENTS: [Document; 21] = [
    Document::topology(),
    Document::of::<check::CheckJson<'static>>("check", "isoplan check --json"),
    Document::of::<plan::Json<'static>>("plan", "isoplan plan --json"),
    Document::of::<apply::ApplyJson<'static>>("apply", "isoplan apply --json"),
    Document::of::<Status>("status", "isoplan status --json"),
    Document::of::<NoticeJson<'static>>("watch", "isoplan watch --json, a line"),
    Document::of::<remove::RemoveJson<'static>>("remove", "isoplan remove --json"),
    Document::of::<rollback::RollbackJson<'static>>("rollback", "isoplan rollback --json"),
    Document::of::<confirm::ConfirmJson<'static>>("confirm", "isoplan confirm --json"),
    Document::of::<ComparisonJson<'static>>("compare", "isoplan compare --json"),
    Document::of::<VerificationJson<'static>>("verify", "isoplan verify --json"),
    Document::of::<explain::ExplainJson<'static>>("explain", "isoplan explain --json"),
    Document::of::<DesiredJson<'static>>("desired", "isoplan render --format json"),
    Document::of::<discover::DraftJson<'static>>("discover", "isoplan discover --json"),
    Document::of::<lab::PeersJson<'static>>("lab", "isoplan lab --list-peers --json"),
    Document::of::<probe::ProbeJson<'static>>("probe", "isoplan probe --json"),
    Document::of::<DiffJson<'static>>("diff", "isoplan diff --json"),
    Document::of::<SnapshotBody<'static>>("snapshot", "what isoplan snapshot saves"),
    Document::of::<PlanBody<'static>>("saved-plan", "what isoplan plan -o FILE saves"),
    Document::of::<install::InstallJson<'static>>("install", "isoplan install --json"),
    Document::of::<install::InstallJson<'static>>("uninstall", "isoplan uninstall --json"),
];

/// The schema of a document by its `kind`, or of the topology file (`topology`).
pub fn schema_of(kind: &str) -> Option<Value> {
    DOCUMENTS.iter().find(|document| document.kind == kind).map(|document| (document.schema)(document))
}

/// What there are schemas of: the word for it, and what it is.
pub fn schema_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    DOCUMENTS.iter().map(|document| (document.kind, document.what))
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(DOCUMENTS.iter().map(|document| PossibleValue::new(document.kind)))
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    if args.list {
        let widest = DOCUMENTS.iter().map(|document| document.kind.len()).max().unwrap_or_default();
        for (kind, what) in schema_kinds() {
            output.data(&format!("{kind:widest$}  {what}\n"))?;
        }
        return Ok(Exit::Done);
    }
    if let Some(schema) = schema_of(&args.what) {
        output.json(&schema)?;
    }
    Ok(Exit::Done)
}
