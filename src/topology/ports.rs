//! The ports of an exception.

use toml::de::DeValue;

use super::mistake::{At, quote};
use super::model::PortRange;
use super::raw::List;
use super::table::{Table, integer_of};

/// Reads `ports`: integers, and strings of two with a hyphen between.
pub(super) fn read(table: &mut Table<'_, '_>) -> List<PortRange> {
    let span = table.get("ports").map(|value| value.span().into());
    let Some(values) = table.list("ports", "ports", "[2049, \"8000-8010\"]") else {
        return List { span, items: Vec::new(), faulty: true };
    };
    let mut list = List { span, items: Vec::new(), faulty: false };
    if let (Some(span), true) = (span, values.items.is_empty()) {
        let message = format!("`ports` of {} is empty", table.head.title);
        table.mistakes.add(span, message).hint("for all ports leave the key out");
        list.faulty = true;
    }
    for At { value, span } in values.items {
        let read = match value.get_ref() {
            DeValue::Integer(_) => integer_of(value.get_ref()).map_or(Err(OUT_OF_RANGE), one),
            DeValue::String(text) => range(text),
            _ => Err((FORM, FORM_HINT)),
        };
        match read {
            Ok(value) => list.items.push(At { value, span }),
            Err((fault, hint)) => {
                let text = match value.get_ref() {
                    DeValue::String(text) => quote(text),
                    other => super::table::described(other),
                };
                let message = format!("{text} {fault}, in `ports` of {}", table.head.title);
                table.mistakes.add(span, message).hint(hint);
                list.faulty = true;
            }
        }
    }
    overlapping(&mut list, table);
    list
}

type Fault = (&'static str, &'static str);

const FORM: &str = "is neither a port nor a range of ports";
const FORM_HINT: &str = "such as: ports = [2049, \"8000-8010\"]";
const OUT_OF_RANGE: Fault = ("is not a port", "ports are 1 to 65535");
const REVERSED: Fault = ("ends before it starts", "the lower port first");

fn one(number: i64) -> Result<PortRange, Fault> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(PortRange { first: port, last: port }),
        _ => Err(OUT_OF_RANGE),
    }
}

fn range(text: &str) -> Result<PortRange, Fault> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<i64>().map_err(|_| OUT_OF_RANGE) } else { Err((FORM, FORM_HINT)) }
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (one(number(first)?)?.first, one(number(last)?)?.last),
        None => return one(number(text)?),
    };
    if first > last { Err(REVERSED) } else { Ok(PortRange { first, last }) }
}

/// Reports ports that are in the list twice.
fn overlapping(list: &mut List<PortRange>, table: &mut Table<'_, '_>) {
    let mut sorted: Vec<&At<PortRange>> = list.items.iter().collect();
    sorted.sort();
    let mut faulty = false;
    let mut widest: Option<&At<PortRange>> = None;
    for next in sorted {
        if let Some(before) = widest.filter(|before| before.value.last >= next.value.first) {
            let (earlier, later) = if before.span < next.span { (before, next) } else { (next, before) };
            let shared = next.value.first;
            let message = format!("port {shared} is in `ports` of {} twice", table.head.title);
            table.mistakes.add(later.span, message).related(earlier.span, "also here").hint("leave one out");
            faulty = true;
        }
        if widest.is_none_or(|before| before.value.last < next.value.last) {
            widest = Some(next);
        }
    }
    list.faulty |= faulty;
}

/// Sorts ranges and joins those that touch.
pub(super) fn merged(items: &[At<PortRange>]) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = items.iter().map(|at| at.value).collect();
    sorted.sort();
    let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for next in sorted {
        match merged.last_mut() {
            Some(before) if u32::from(before.last) + 1 >= u32::from(next.first) => {
                before.last = before.last.max(next.last);
            }
            _ => merged.push(next),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(u16, u16), Fault>) {
        let expected = expected.map(|(first, last)| PortRange { first, last });
        assert_eq!(range(text), expected, "{text}");
    }

    #[test]
    fn ranges() {
        check("80", Ok((80, 80)));
        check("8000-8010", Ok((8000, 8010)));
        check("1-65535", Ok((1, 65535)));
        check("7-7", Ok((7, 7)));
        check("0", Err(OUT_OF_RANGE));
        check("0-10", Err(OUT_OF_RANGE));
        check("10-65536", Err(OUT_OF_RANGE));
        check("80-79", Err(REVERSED));
        check("", Err((FORM, FORM_HINT)));
        check("-", Err((FORM, FORM_HINT)));
        check("80-", Err((FORM, FORM_HINT)));
        check("-80", Err((FORM, FORM_HINT)));
        check("80 - 90", Err((FORM, FORM_HINT)));
        check("+80", Err((FORM, FORM_HINT)));
        check("http", Err((FORM, FORM_HINT)));
        check("99999999999999999999", Err((FORM, FORM_HINT)));
    }

    #[test]
    fn touching_ranges_are_joined() {
        let at = |first, last| At {
            value: PortRange { first, last },
            span: super::super::mistake::Span::default(),
        };
        let joined = merged(&[at(90, 100), at(80, 89), at(65535, 65535), at(102, 102)]);
        let joined: Vec<_> = joined.iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(joined, [(80, 100), (102, 102), (65535, 65535)]);
    }
}
