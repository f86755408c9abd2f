//! A man page: what clap knows of a command, and what `texts` adds.

use clap::{Arg, Args as _, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::texts;
use crate::cli::Cli;

/// User commands (man-pages(7)).
const SECTION: &str = "1";

/// A page, as a file.
pub(super) struct Page {
    /// The name of the file.
    pub(super) name: String,
    /// Roff.
    pub(super) text: String,
}

/// isoplan(1), then one page for each command that `isoplan --help` lists, in that order.
pub(super) fn pages() -> Vec<Page> {
    // `isoplan help` has no page: `man isoplan-help` would say less than `man isoplan`.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let verbs = || program.get_subcommands().filter(|verb| !verb.is_hide_set());
    let names: Vec<&str> = verbs().map(Command::get_name).collect();
    let mut pages = vec![page(&program, "", &names)];
    pages.extend(verbs().map(|verb| page(verb, verb.get_name(), &[])));
    pages
}

/// The page of a command: of `verb`, or of isoplan itself where that is empty, which refers to all the others.
fn page(command: &Command, verb: &str, verbs: &[&str]) -> Page {
    let name = if verb.is_empty() { "isoplan".to_owned() } else { format!("isoplan-{verb}") };
    let man = Man::new(described(command, verb))
        .title(name.to_uppercase())
        .section(SECTION)
        .date(texts::DATE)
        .source(concat!("isoplan ", env!("CARGO_PKG_VERSION")))
        .manual("isoplan");
    let mut text = Vec::new();
    let rendered = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text))
        .and_then(|()| if verbs.is_empty() { Ok(()) } else { man.render_subcommands_section(&mut text) })
        .and_then(|()| more(command, verb, verbs).to_writer(&mut text));
    rendered.expect("writing into memory does not fail");
    Page { name: format!("{name}.{SECTION}"), text: once(&String::from_utf8_lossy(&text)) }
}

/// The sections that clap does not make.
fn more(command: &Command, verb: &str, verbs: &[&str]) -> Roff {
    let mut roff = Roff::new();
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let told = Told::of(&help);
    let examples: Vec<Block> = if told.examples.is_empty() { texts::examples(verb) } else { told.examples };
    blocks(&mut roff, "EXAMPLES", &examples);
    blocks(&mut roff, "NOTES", &told.notes);
    roff.control("SH", ["EXIT STATUS"]);
    for (at, paragraph) in told.exit.iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.as_str())]);
    }
    for (code, means) in texts::exit_codes(verb) {
        entry(&mut roff, code, means);
    }
    let arguments: Vec<&Arg> = command.get_arguments().collect();
    roff.control("SH", ["ENVIRONMENT"]);
    let variables: Vec<_> = arguments.iter().filter_map(|argument| argument.get_env()?.to_str()).collect();
    for (name, means) in texts::environment(verb, &variables) {
        entry(&mut roff, name, means);
    }
    let has_state = verb.is_empty() || variables.contains(&"ISOPLAN_STATE_DIR");
    let files = texts::files(verb, has_state);
    if !files.is_empty() {
        roff.control("SH", ["FILES"]);
        for (path, means) in files {
            entry(&mut roff, path, means);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    let own = verbs.iter().map(|verb| format!("isoplan-{verb}(1)"));
    let related = texts::see_also(verb).iter().map(|page| (*page).to_owned());
    let pages: Vec<String> = own.chain(related).collect();
    for (at, page) in pages.iter().enumerate() {
        let comma = if at + 1 < pages.len() { "," } else { "" };
        let (name, section) = page.split_at(page.find('(').unwrap_or(page.len()));
        roff.text([bold(name), roman(format!("{section}{comma}"))]);
    }
    roff
}

fn entry(roff: &mut Roff, term: &str, means: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(means)]);
}

fn blocks(roff: &mut Roff, section: &str, blocks: &[Block]) {
    if blocks.is_empty() {
        return;
    }
    roff.control("SH", [section]);
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        if !block.text.is_empty() {
            roff.text([roman(block.text.as_str())]);
        }
        if !block.lines.is_empty() {
            if !block.text.is_empty() {
                roff.control("PP", []);
            }
            roff.control("RS", ["4"]);
            roff.control("nf", []);
            for line in &block.lines {
                roff.text([roman(line.as_str())]);
            }
            roff.control("fi", []);
            roff.control("RE", []);
        }
    }
}

/// A paragraph, and lines that are shown as they are.
pub(super) struct Block {
    /// May be empty.
    pub(super) text: String,
    /// May be none.
    pub(super) lines: Vec<String>,
}

/// What the help of a command says at its end, by what it is about.
#[derive(Default)]
struct Told {
    examples: Vec<Block>,
    notes: Vec<Block>,
    exit: Vec<String>,
}

impl Told {
    /// Paragraphs are apart by an empty line; lines that are indented are commands.
    fn of(help: &str) -> Self {
        let mut told = Self::default();
        for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            let is_text = |line: &&str| !line.starts_with(' ');
            let text: Vec<&str> = paragraph.lines().take_while(is_text).collect();
            let text = text.join(" ");
            let lines: Vec<String> =
                paragraph.lines().skip_while(is_text).map(|line| line.trim().to_owned()).collect();
            if text == "Exit codes:" {
                // All of them are in the list.
            } else if !lines.is_empty() {
                let text = if text == "Examples:" { String::new() } else { text };
                told.examples.push(Block { text, lines });
            } else if text.starts_with("Exit") || text.starts_with("The exit code") {
                told.exit.push(text);
            } else {
                told.notes.push(Block { text, lines });
            }
        }
        told
    }
}

/// The text with one preamble, where every section was rendered with one of its own; and with an empty line asked for
/// by a request: one in the text is a fault to some formatters.
fn once(text: &str) -> String {
    let preamble = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    format!("{preamble}{}", text.replace(preamble, "").replace("\n.br\n\n.br\n", "\n.sp\n"))
}

/// What is said above the arguments of a command in its source: more than its line in the list of commands.
macro_rules! descriptions {
    ($verb:expr; $($module:ident)*) => {
        match $verb {
            $(stringify!($module) => crate::cli::$module::Args::augment_args(Command::new("described")),)*
            _ => Command::new("described"),
        }
    };
}

/// The command with that as its description.
fn described(command: &Command, verb: &str) -> Command {
    let of_arguments = descriptions!(
        verb;
        apply check compare completions confirm diff discover explain install lab man plan probe remove render
        rollback schema snapshot status uninstall verify watch
    );
    match of_arguments.get_long_about().or_else(|| of_arguments.get_about()) {
        Some(about) => command.clone().long_about(about.clone()),
        None => command.clone(),
    }
}
