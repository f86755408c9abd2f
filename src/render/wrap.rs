//! Breaking sentences into lines.

/// Breaks at spaces so that no line is longer than the width where that is possible.
pub fn push_wrapped(text: &mut String, sentence: &str, width: usize, indent: usize) {
    let mut column = 0;
    for word in sentence.split(' ') {
        if column > 0 && column + 1 + word.chars().count() > width {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.chars().count();
    }
    text.push('\n');
}
