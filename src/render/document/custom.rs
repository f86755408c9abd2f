//! Templates of the user's own, at run time: what they see is the JSON of `isoplan render --format json`.

use std::error::Error as _;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::group;
use crate::error::Failure;
use crate::intent::Intent;
use crate::render;
use crate::render::picture::{self, Embed};
use crate::topology::Topology;

/// What `rendered` knows.
const FORMATS: &str = "nft, iptables, sysctl, svg, mermaid, dot";

/// Fills in a template. `load` gives the text of a template by its name, `None` where there is none of that name, or
/// says why it cannot be had; `main` is the first one that it is asked for.
///
/// A variable that is not there is an error. Names that end in `.html`, `.htm` or `.xml` (with `.j2` behind it or not)
/// have what they insert escaped.
///
/// # Errors
///
/// What is wrong with a template, with its name and line.
pub fn custom(
    topology: &Arc<Topology>,
    main: &str,
    load: impl Fn(&str) -> Result<Option<String>, String> + Send + Sync + 'static,
) -> Result<String, Failure> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // As in most other programs that have templates of Jinja: a line with a tag alone leaves nothing behind.
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build().map_err(|error| failure(&error))?);
    environment.set_loader(move |name| {
        load(name).map_err(|why| Error::new(ErrorKind::InvalidOperation, format!("{name}: {why}")))
    });
    environment.add_filter("grouped", |elements: Vec<String>| group::grouped(&elements));
    environment.add_filter("thousands", group::thousands);
    let of = Arc::clone(topology);
    environment.add_function("rendered", move |format: &str| rendered(&of, format));
    let intent = Intent::new(topology);
    let model = Value::from(Serde(render::json::document(&intent)));
    let template = environment.get_template(main).map_err(|error| failure(&error))?;
    template.render(model).map_err(|error| failure(&error))
}

/// The topology in another format.
fn rendered(topology: &Topology, format: &str) -> Result<Value, Error> {
    let intent = Intent::new(topology);
    let text = match format {
        "nft" => render::nft::file(&intent),
        "iptables" => render::iptables::file(&intent),
        "sysctl" => render::sysctl::file(&intent),
        // It is markup, and its texts are escaped in it.
        "svg" => return Ok(Value::from_safe_string(picture::svg(&intent, Embed::Inline))),
        "mermaid" => Ok(picture::mermaid(&intent)),
        "dot" => Ok(picture::dot(&intent)),
        _ => {
            let what = format!("there is no format {format:?} for rendered(); there are {FORMATS}");
            return Err(Error::new(ErrorKind::InvalidOperation, what));
        }
    };
    let text = text.map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
    Ok(Value::from(text))
}

/// What is wrong, at the innermost place that is known.
fn failure(error: &Error) -> Failure {
    let mut innermost = error;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<Error>() {
            innermost = cause;
        }
        source = cause.source();
    }
    let place = match (innermost.name(), innermost.line()) {
        (Some(name), Some(line)) => format!(" {name}:{line}"),
        _ => String::new(),
    };
    let what = innermost.detail().map_or_else(|| innermost.kind().to_string(), str::to_owned);
    let mut failure = Failure::new(format!("cannot fill in the template{place}")).because(what);
    let line =
        innermost.line().and_then(|line| innermost.template_source()?.lines().nth(line.checked_sub(1)?));
    if let Some(line) = line.map(str::trim).filter(|line| !line.is_empty()) {
        failure = failure.because(format!("in the line: {line}"));
    }
    match innermost.kind() {
        ErrorKind::UndefinedError => failure.hint(
            "docs/json.md lists what there is, under `isoplan render --format json`; `{% if x is defined %}` asks whether \
             there is an x",
        ),
        ErrorKind::TemplateNotFound => {
            failure.hint("other templates are looked for in the directory of the first one, by their path from there")
        }
        ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest => {
            failure.hint("docs/how-to/templates.md names those that there are")
        }
        ErrorKind::SyntaxError => failure.hint("the language is that of Jinja: docs/how-to/templates.md"),
        _ => failure,
    }
}
