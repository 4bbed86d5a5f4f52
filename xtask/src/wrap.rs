//! Wraps prose to the width of documents.

const WIDTH: usize = 100;

/// Returns a paragraph in lines of at most 100 columns, with a line break at the end.
pub(crate) fn wrap(paragraph: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
    text
}

#[test]
fn lines_have_at_most_100_columns_and_keep_every_word() {
    let paragraph = "word ".repeat(60);
    let text = wrap(&paragraph);
    assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    assert_eq!(text.split_whitespace().count(), 60);
}
