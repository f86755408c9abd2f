//! What is shown against what was printed.

/// Stands for what is left out.
const LEFT_OUT: &str = "[...]";

/// Words before a number that is another one each time.
const BEFORE: [&str; 5] = ["handle", "generation", "pid", "id", "netns"];

/// Words behind a number that is another one each time.
const BEHIND: [&str; 4] = ["ms", "us", "\u{b5}s", "s"];

/// The first port that the kernel gives to a socket (ip-sysctl, `ip_local_port_range`).
const FIRST_PORT: u32 = 32768;

/// Whether lines are what is shown.
pub(super) fn fits(shown: &[String], printed: &[String]) -> bool {
    let shown: Vec<String> = trimmed(shown).iter().map(|line| masked(line)).collect();
    let printed: Vec<String> = printed.iter().map(|line| masked(line)).collect();
    // Which lines of what was printed may come next, after each line of what is shown.
    let mut next = vec![false; printed.len() + 1];
    next[0] = true;
    for line in &shown {
        let mut after = vec![false; printed.len() + 1];
        for at in (0..=printed.len()).filter(|at| next[*at]) {
            if line.trim() == LEFT_OUT {
                after[at..].fill(true);
            } else if printed.get(at).is_some_and(|printed| line_fits(line, printed)) {
                after[at + 1] = true;
            }
        }
        next = after;
    }
    next[printed.len()]
}

fn line_fits(shown: &str, printed: &str) -> bool {
    let shown = shown.trim_end();
    let mut parts = shown.split(LEFT_OUT);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Without empty lines at the end.
fn trimmed(shown: &[String]) -> &[String] {
    let end = shown.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |at| at + 1);
    &shown[..end]
}

/// A line without what is never the same twice.
fn masked(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let bare = |at: usize| words.get(at).map_or("", |word| word.trim_matches(|c: char| "(),;:.".contains(c)));
    let masked = words.iter().enumerate().map(|(at, word)| {
        let (before, own, behind) = (if at > 0 { bare(at - 1) } else { "" }, bare(at), bare(at + 1));
        let is_number = !own.is_empty() && own.chars().all(|c| c.is_ascii_digit() || "./".contains(c));
        let is_masked = looks_like(own, "0000-00-00")
            || looks_like(own, "00:00:00.000000")
            || looks_like(own, "00:00:00")
            || looks_like(own, "00:00") && looks_like(before, "0000-00-00")
            || is_number && (BEFORE.contains(&before) || BEHIND.contains(&behind))
            || before == "Linux" && own.starts_with(|c: char| c.is_ascii_digit())
            || own.starts_with("time=")
            || before == "time" && own.ends_with("ms");
        if is_masked && !word.contains(LEFT_OUT) {
            return word.replace(own, "*");
        }
        without_port(word)
    });
    masked.collect::<Vec<_>>().join(" ")
}

/// Whether every character is as in the pattern, where 0 stands for any digit.
fn looks_like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.chars().zip(pattern.chars()).all(|(c, wanted)| match wanted {
            '0' => c.is_ascii_digit(),
            other => c == other,
        })
}

/// A word without the port behind an address, where the kernel chose it. tcpdump writes it behind a dot.
fn without_port(word: &str) -> String {
    let end = word.trim_end_matches([',', ':', ')']);
    let Some(at) = end.rfind([':', '.']) else { return word.to_owned() };
    let (address, port) = end.split_at(at);
    let is_address = address.ends_with(']')
        || address.ends_with(|c: char| c.is_ascii_digit()) && address.matches('.').count() == 3
        || port.starts_with('.') && address.contains("::");
    match port[1..].parse::<u32>() {
        Ok(number) if number >= FIRST_PORT && is_address => {
            format!("{address}{}*{}", &port[..1], &word[end.len()..])
        }
        _ => word.to_owned(),
    }
}

/// What is to be shown: what was printed, with the lines that were left out before left out again where those around
/// them are still there.
pub(super) fn blessed(shown: &[String], printed: &[String]) -> Vec<String> {
    let shown = trimmed(shown);
    let mut lines = Vec::new();
    let (mut from_shown, mut from_printed) = (0, 0);
    for (at_shown, at_printed) in common(shown, printed).into_iter().chain([(shown.len(), printed.len())]) {
        let gap = &shown[from_shown..at_shown];
        if let Some(left_out) = gap.iter().find(|line| line.trim() == LEFT_OUT) {
            lines.push(left_out.clone());
        } else {
            lines.extend_from_slice(&printed[from_printed..at_printed]);
        }
        // As it was shown, with what stood for text in it.
        lines.extend(shown.get(at_shown).cloned());
        (from_shown, from_printed) = (at_shown + 1, at_printed + 1);
    }
    lines
}

/// The longest run of pairs of lines that fit, in order.
fn common(shown: &[String], printed: &[String]) -> Vec<(usize, usize)> {
    let masked_shown: Vec<String> = shown.iter().map(|line| masked(line)).collect();
    let masked_printed: Vec<String> = printed.iter().map(|line| masked(line)).collect();
    let fits =
        |a: usize, b: usize| shown[a].trim() != LEFT_OUT && line_fits(&masked_shown[a], &masked_printed[b]);
    let mut longest = vec![vec![0_usize; printed.len() + 1]; shown.len() + 1];
    for a in (0..shown.len()).rev() {
        for b in (0..printed.len()).rev() {
            longest[a][b] = match fits(a, b) {
                true => longest[a + 1][b + 1] + 1,
                false => longest[a + 1][b].max(longest[a][b + 1]),
            };
        }
    }
    let (mut a, mut b, mut pairs) = (0, 0, Vec::new());
    while a < shown.len() && b < printed.len() {
        if fits(a, b) && longest[a][b] == longest[a + 1][b + 1] + 1 {
            pairs.push((a, b));
            (a, b) = (a + 1, b + 1);
        } else if longest[a + 1][b] >= longest[a][b + 1] {
            a += 1;
        } else {
            b += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{blessed, fits};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(shown: &str, printed: &str, expected: bool) {
        assert_eq!(fits(&lines(shown), &lines(printed)), expected, "{shown:?} and {printed:?}");
    }

    #[test]
    fn what_is_left_out_stands_for_anything() {
        check("a\nb", "a\nb", true);
        check("a", "a\nb", false);
        check("", "", true);
        check("", "a", false);
        check("a\n[...]\nd", "a\nb\nc\nd", true);
        check("a\n[...]\nd", "a\nd", true);
        check("a\n[...]\nd", "a\nb", false);
        check("[...]", "", true);
        check("[...]\nb\n[...]\nd", "a\nb\nb\nd", true);
        check("took [...] s of [...].", "took 5 s of all.", true);
        check("took [...] s of [...].", "took 5 s of all", false);
    }

    #[test]
    fn what_is_another_each_time_need_not_agree() {
        check("accept (handle 70)", "accept (handle 71)", true);
        check("repaired in 4 ms: 1 rule", "repaired in 12 ms: 1 rule", true);
        check("repaired in 4 ms: 1 rule", "repaired in 4 ms: 2 rules", false);
        check("of 2026-11-23 14:50 UTC:", "of 2027-01-02 03:04 UTC:", true);
        check("192.168.57.10:40277 -> 192.168.57.5:9000", "192.168.57.10:51000 -> 192.168.57.5:9000", true);
        check("192.168.57.10:40277 -> 192.168.57.5:9000", "192.168.57.10:40277 -> 192.168.57.5:9001", false);
        check("IP6 fd57::a.40277 > fd57::5.7:", "IP6 fd57::a.50277 > fd57::5.7:", true);
        check("IP 10.0.0.1.40277 >", "IP 10.0.0.2.40277 >", false);
    }

    #[test]
    fn blessing_keeps_what_is_left_out() {
        let bless = |shown: &str, printed: &str| blessed(&lines(shown), &lines(printed)).join("\n");
        assert_eq!(bless("", "a\nb"), "a\nb");
        assert_eq!(bless("a\n[...]\nd", "a\nb\nd\ne"), "a\n[...]\nd\ne");
        assert_eq!(bless("a\nx\n[...]", "a\nb\nd\ne"), "a\n[...]");
        assert_eq!(bless("a\nx\nd", "a\nb\nd"), "a\nb\nd");
        assert_eq!(bless("in [...] s\nx", "in 5 s\ny"), "in [...] s\ny");
    }
}
