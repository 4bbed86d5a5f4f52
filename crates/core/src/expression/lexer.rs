//! The tokens of an expression, by the lexical rules of CEL.
//!
//! Numbers are read as exact decimals, whatever their notation; a literal never passes through
//! a binary float. Texts may be written with either quote, three of them, or raw (`r"\d+"`).

use crate::decimal::{self, Decimal};

/// A token and the place in the text where it begins, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(Decimal),
    Text(String),
    Name(String),
    /// A sign of one or two characters: `(`, `&&`.
    Sign(&'static str),
    End,
}

impl Token {
    /// Returns how a message names the token.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Number(number) => format!("`{number}`"),
            Token::Text(text) => format!("the text {text:?}"),
            Token::Name(name) => format!("`{name}`"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        }
    }
}

/// An error of a text, and its place in bytes.
pub(super) type Fault = (usize, String);

/// The longer signs come first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}",
];

/// Returns the tokens of a text; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Fault> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let at = lexer.at;
        let token = lexer.next()?;
        let is_end = token == Token::End;
        tokens.push(Placed { token, at });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Skips blanks, line ends and comments.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']).len();
            self.at += blanks;
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn next(&mut self) -> Result<Token, Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let second = rest.as_bytes().get(1).copied();
        match first {
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '"' | '\'' => self.text(false),
            'r' | 'R' if matches!(second, Some(b'"' | b'\'')) => {
                self.at += 1;
                self.text(true)
            }
            'b' | 'B' if matches!(second, Some(b'"' | b'\'')) => Err((self.at, "bytes are not available".to_owned())),
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.name()),
            '`' => self.quoted_name(),
            '=' if second != Some(b'=') => Err((self.at, "`=` compares nothing; write `==`".to_owned())),
            '&' | '|' if second != Some(first as u8) => {
                Err((self.at, format!("`{first}` is no operator; write `{first}{first}`")))
            }
            _ => self.sign(first),
        }
    }

    fn sign(&mut self, first: char) -> Result<Token, Fault> {
        match SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            None => Err((self.at, format!("`{first}` has no meaning in an expression"))),
        }
    }

    fn name(&mut self) -> Token {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = self.rest();
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += length;
        Token::Name(rest[..length].to_owned())
    }

    /// A name in backquotes may have dots, dashes, slashes and blanks.
    fn quoted_name(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let Some(length) = self.rest()[1..].find('`').filter(|length| *length > 0) else {
            return Err((start, "a name in backquotes has no end".to_owned()));
        };
        self.at += length + 2;
        Ok(Token::Name(self.text[start + 1..start + 1 + length].to_owned()))
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let rest = self.rest();
        let (text, length) = match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            Some(digits) => {
                let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
                let number = u128::from_str_radix(&digits[..length], 16);
                (number.map(|number| number.to_string()).unwrap_or_default(), 2 + length)
            }
            None => {
                let length = decimal_length(rest.as_bytes());
                (rest[..length].to_owned(), length)
            }
        };
        self.at += length;
        // CEL's unsigned integers are numbers like all others here.
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
        }
        if self.rest().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err((start, format!("`{}` is no number", &rest[..self.at - start + 1])));
        }
        // The decimal reader needs a digit before the point.
        let text = if text.starts_with('.') { format!("0{text}") } else { text };
        let number = decimal::parse(text.as_bytes());
        number.map(Token::Number).map_err(|why| (start, format!("{}: {why}", &rest[..length])))
    }

    fn text(&mut self, is_raw: bool) -> Result<Token, Fault> {
        let start = self.at;
        let unclosed = || (start, "a text has no closing quote".to_owned());
        let quote = &self.rest()[..1];
        let long = [quote; 3].concat();
        let (quote, is_long) = match self.rest().starts_with(&long) {
            true => (long.as_str(), true),
            false => (quote, false),
        };
        self.at += quote.len();
        let mut text = String::new();
        loop {
            if self.rest().starts_with(quote) {
                self.at += quote.len();
                return Ok(Token::Text(text));
            }
            let c = self.rest().chars().next().ok_or_else(unclosed)?;
            match c {
                '\\' if !is_raw => text.push(self.escaped()?),
                '\n' | '\r' if !is_long => return Err(unclosed()),
                c => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
            }
        }
    }

    /// Reads an escape sequence: `\n`, `\"`, `\x41`, `\u00f8`, `\U0001F600`, `\101`.
    fn escaped(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let sequence = &self.rest()[1..];
        let wrong = || (start, "an escape sequence that does not exist; write \\\\ for a backslash".to_owned());
        let kind = sequence.chars().next().ok_or_else(wrong)?;
        let coded = |from: usize, digits: usize, radix: u32| {
            let code = sequence.get(from..from + digits).filter(|code| code.chars().all(|c| c.is_digit(radix)))?;
            let c = u32::from_str_radix(code, radix).ok().and_then(char::from_u32)?;
            Some((c, from + digits))
        };
        let found = match kind {
            'a' => Some(('\x07', 1)),
            'b' => Some(('\x08', 1)),
            'f' => Some(('\x0c', 1)),
            'n' => Some(('\n', 1)),
            'r' => Some(('\r', 1)),
            't' => Some(('\t', 1)),
            'v' => Some(('\x0b', 1)),
            '"' | '\'' | '\\' | '?' | '`' => Some((kind, 1)),
            'x' | 'X' => coded(1, 2, 16),
            'u' => coded(1, 4, 16),
            'U' => coded(1, 8, 16),
            '0'..='3' => coded(0, 3, 8),
            _ => None,
        };
        let (c, length) = found.ok_or_else(wrong)?;
        self.at += 1 + length;
        Ok(c)
    }
}

/// Returns the length of a number in decimal notation: `12`, `1.5`, `.5`, `2e-3`.
fn decimal_length(text: &[u8]) -> usize {
    let digits = |from: usize| text[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut length = digits(0);
    if text.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if let Some(b'e' | b'E') = text.get(length) {
        let sign = usize::from(matches!(text.get(length + 1), Some(b'+' | b'-')));
        let from = length + 1 + sign;
        if from <= text.len() && digits(from) > 0 {
            length = from + digits(from);
        }
    }
    length
}
