//! Finds the prose of a file: comments and string literals of code, sentences of documents.

/// A sentence, and the line on which its paragraph begins.
pub(super) struct Sentence {
    pub(super) line: usize,
    pub(super) text: String,
}

/// The prose of a Rust file.
pub(super) struct Code {
    pub(super) sentences: Vec<Sentence>,
    /// Lines of documentation comments with at most three words.
    pub(super) short_docs: Vec<usize>,
}

/// Returns comments and string literals. Consecutive comment lines are one paragraph.
pub(super) fn of_code(text: &str) -> Code {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut short_docs = Vec::new();
    let mut block: Option<(usize, String, usize, bool)> = None;
    let mut literals = Literals::default();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let comment = (!literals.is_open() && trimmed.starts_with("//")).then(|| trimmed.trim_start_matches(['/', '!']));
        if let Some(comment) = comment {
            let is_doc = trimmed.starts_with("///");
            let (_, words, lines, _) = block.get_or_insert_with(|| (number + 1, String::new(), 0, is_doc));
            words.push(' ');
            words.push_str(comment);
            *lines += 1;
            continue;
        }
        if let Some((at, words, lines, is_doc)) = block.take() {
            let is_short = is_doc && lines == 1 && words.split_whitespace().count() <= super::SHORT_DOC_WORDS;
            short_docs.extend(is_short.then_some(at));
            paragraphs.push((at, words));
        }
        literals.read(number + 1, line, &mut paragraphs);
    }
    paragraphs.extend(block.map(|(at, words, ..)| (at, words)));
    Code { sentences: paragraphs.iter().flat_map(|(line, text)| sentences(*line, text)).collect(), short_docs }
}

/// Returns the sentences outside code blocks and headings.
pub(super) fn of_document(text: &str) -> Vec<Sentence> {
    let mut found = Vec::new();
    let mut paragraph: Option<(usize, String)> = None;
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        let starts = line.trim_start().starts_with(['|', '-', '*']);
        let ends = is_fence || is_code || line.trim().is_empty() || line.starts_with('#');
        if ends || starts {
            found.extend(paragraph.take().into_iter().flat_map(|(at, text)| sentences(at, &text)));
        }
        if !ends {
            let (_, text) = paragraph.get_or_insert_with(|| (number + 1, String::new()));
            text.push(' ');
            text.push_str(line.trim_start_matches(['-', ' ']));
        }
    }
    found.extend(paragraph.into_iter().flat_map(|(at, text)| sentences(at, &text)));
    found
}

fn sentences(line: usize, paragraph: &str) -> Vec<Sentence> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut words = paragraph.split_whitespace().peekable();
    while let Some(word) = words.next() {
        text.push_str(word);
        let is_end = word.ends_with(['.', '?', '!', ':']) || words.peek().is_none();
        if is_end {
            found.push(Sentence { line, text: std::mem::take(&mut text) });
        } else {
            text.push(' ');
        }
    }
    found
}

/// String literals, which may span lines, and comments behind code.
#[derive(Default)]
struct Literals {
    /// The literal that is open, its line, and the hashes of a raw one.
    open: Option<(usize, String, Option<usize>)>,
}

impl Literals {
    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn read(&mut self, number: usize, line: &str, paragraphs: &mut Vec<(usize, String)>) {
        let characters: Vec<char> = line.chars().collect();
        let mut at = 0;
        while let Some(&character) = characters.get(at) {
            let rest = &characters[at..];
            if let Some((first, mut text, raw)) = self.open.take() {
                let (closes, width) = match raw {
                    Some(hashes) => (rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes, 1),
                    None => (character == '"', if character == '\\' { 2 } else { 1 }),
                };
                at += width;
                if closes {
                    paragraphs.push((first, text));
                } else {
                    text.extend(rest.iter().take(width));
                    self.open = Some((first, text, raw));
                }
                continue;
            }
            at += match rest {
                ['/', '/', ..] => {
                    paragraphs.push((number, rest[2..].iter().collect()));
                    return;
                }
                // A character, so that '"' opens nothing.
                ['\'', '\\', _, '\'', ..] => 4,
                ['\'', _, '\'', ..] => 3,
                ['r', '"' | '#', ..] if at == 0 || !(characters[at - 1].is_alphanumeric() || characters[at - 1] == '_') => {
                    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                    if rest.get(1 + hashes) == Some(&'"') {
                        self.open = Some((number, String::new(), Some(hashes)));
                    }
                    2 + hashes
                }
                ['"', ..] => {
                    self.open = Some((number, String::new(), None));
                    1
                }
                _ => 1,
            };
        }
        if let Some((_, text, _)) = &mut self.open {
            text.push(' ');
        }
    }
}

#[test]
fn literals_and_comments_behind_code_are_found() {
    let code = of_code("let x = '\"'; call(\"one \\\" two\"); // three\nlet y = r#\"four \"five\"\"#;\n");
    let texts: Vec<&str> = code.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    assert_eq!(texts, ["one \\\" two", "three", "four \"five\""]);
}
