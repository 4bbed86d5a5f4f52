//! Text to syntax tree: the grammar of CEL without objects and messages.
//!
//! ```text
//! expression = or [ "?" or ":" expression ]
//! or         = and { "||" and }
//! and        = relation { "&&" relation }
//! relation   = sum { ( "<" | "<=" | ">" | ">=" | "==" | "!=" | "in" ) sum }
//! sum        = product { ( "+" | "-" ) product }
//! product    = unary { ( "*" | "/" | "%" ) unary }
//! unary      = { "!" | "-" } member
//! member     = primary { "." name [ "(" list ")" ] | "[" expression "]" }
//! primary    = literal | name [ "(" list ")" ] | "(" expression ")" | "[" list "]"
//! ```

use super::lexer::{Fault, Placed, Token, tokens};
use super::syntax::{Binary, Syntax, Unary};
use crate::limits::EXPRESSION_DEPTH_MAX;

/// Parses an expression. The error says where, by line and column, and what was expected.
pub(super) fn parse(text: &str) -> Result<Syntax, String> {
    let place = |(at, what): Fault| {
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!("at {line}:{column}: {what}")
    };
    let tokens = tokens(text).map_err(place)?;
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0 };
    let syntax = parser.expression().map_err(place)?;
    match parser.peek() {
        Token::End => Ok(syntax),
        other => Err(place((parser.at(), format!("{} after the end of the expression", other.describe())))),
    }
}

struct Parser<'t> {
    tokens: &'t [Placed],
    next: usize,
    /// How deep the current place is nested; the tree is no deeper than the limit.
    depth: usize,
}

type Parsed = Result<Syntax, Fault>;
type Level<'t> = fn(&mut Parser<'t>) -> Parsed;

const RELATIONS: [(&str, Binary); 7] = [
    ("<", Binary::Lt),
    ("<=", Binary::Le),
    (">", Binary::Gt),
    (">=", Binary::Ge),
    ("==", Binary::Eq),
    ("!=", Binary::Ne),
    ("in", Binary::In),
];
const SUMS: [(&str, Binary); 2] = [("+", Binary::Add), ("-", Binary::Subtract)];
const PRODUCTS: [(&str, Binary); 3] = [("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Remainder)];

impl<'t> Parser<'t> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |placed| &placed.token)
    }

    fn at(&self) -> usize {
        let place = self.tokens.get(self.next).or(self.tokens.last());
        place.map_or(0, |placed| placed.at)
    }

    /// Takes a sign, or the word `in`, if it comes next.
    fn take(&mut self, sign: &str) -> bool {
        let is_next = match self.peek() {
            Token::Sign(found) => *found == sign,
            Token::Name(name) => name == sign && sign == "in",
            Token::Number(_) | Token::Text(_) | Token::End => false,
        };
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{sign}`"))),
        }
    }

    fn unexpected(&self, expected: &str) -> Fault {
        (self.at(), format!("expected {expected}, found {}", self.peek().describe()))
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        match self.depth > EXPRESSION_DEPTH_MAX {
            true => Err((self.at(), format!("nested deeper than {EXPRESSION_DEPTH_MAX}; split it over several fields"))),
            false => Ok(()),
        }
    }

    /// Parses one level deeper.
    fn nested(&mut self, level: Level<'t>) -> Parsed {
        self.deeper()?;
        let parsed = level(self);
        self.depth -= 1;
        parsed
    }

    fn expression(&mut self) -> Parsed {
        let condition = self.or()?;
        if !self.take("?") {
            return Ok(condition);
        }
        let then = self.nested(Parser::or)?;
        self.expect(":")?;
        let otherwise = self.nested(Parser::expression)?;
        Ok(Syntax::If(Box::new([condition, then, otherwise])))
    }

    fn or(&mut self) -> Parsed {
        self.chain("||", Binary::Or, Parser::and)
    }

    fn and(&mut self) -> Parsed {
        self.chain("&&", Binary::And, Parser::relation)
    }

    /// Operands of an associative operator, as a tree that is as flat as possible: a thousand
    /// alternatives are ten levels.
    fn chain(&mut self, sign: &str, operator: Binary, level: Level<'t>) -> Parsed {
        let mut operands = vec![level(self)?];
        while self.take(sign) {
            operands.push(level(self)?);
        }
        Ok(balanced(operator, operands))
    }

    fn relation(&mut self) -> Parsed {
        self.left(&RELATIONS, Parser::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.left(&SUMS, Parser::product)
    }

    fn product(&mut self) -> Parsed {
        self.left(&PRODUCTS, Parser::unary)
    }

    /// Operands and operators from left to right.
    fn left(&mut self, operators: &[(&str, Binary)], level: Level<'t>) -> Parsed {
        let mut left = level(self)?;
        let outer = self.depth;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.take(sign)) {
            self.deeper()?;
            left = Syntax::Binary(*operator, Box::new(left), Box::new(level(self)?));
        }
        self.depth = outer;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        if self.take("!") {
            return Ok(Syntax::Unary(Unary::Not, Box::new(self.nested(Parser::unary)?)));
        }
        if !self.take("-") {
            return self.member();
        }
        // The sign of a literal belongs to it.
        match self.nested(Parser::unary)? {
            Syntax::Number(number) => Ok(Syntax::Number(number.neg())),
            operand => Ok(Syntax::Unary(Unary::Negate, Box::new(operand))),
        }
    }

    fn member(&mut self) -> Parsed {
        let mut member = self.primary()?;
        let outer = self.depth;
        loop {
            if self.take(".") {
                let name = self.name()?;
                member = match self.take("(") {
                    true => Syntax::Call { target: Some(Box::new(member)), name, arguments: self.list(")")? },
                    false => Syntax::Member(Box::new(member), name),
                };
            } else if self.take("[") {
                let index = self.nested(Parser::expression)?;
                self.expect("]")?;
                member = Syntax::Index(Box::new(member), Box::new(index));
            } else {
                self.depth = outer;
                return Ok(member);
            }
            self.deeper()?;
        }
    }

    fn name(&mut self) -> Result<String, Fault> {
        let Token::Name(name) = self.peek() else { return Err(self.unexpected("a name")) };
        let name = name.clone();
        self.next += 1;
        Ok(name)
    }

    fn primary(&mut self) -> Parsed {
        let literal = match self.peek() {
            Token::Number(number) => Syntax::Number(*number),
            Token::Text(text) => Syntax::Text(text.clone()),
            Token::Name(name) => match name.as_str() {
                "true" => Syntax::Bool(true),
                "false" => Syntax::Bool(false),
                "null" => Syntax::Null,
                "in" => return Err(self.unexpected("a value")),
                _ => return self.named(),
            },
            Token::Sign(_) | Token::End => return self.enclosed(),
        };
        self.next += 1;
        Ok(literal)
    }

    fn named(&mut self) -> Parsed {
        let name = self.name()?;
        match self.take("(") {
            true => Ok(Syntax::Call { target: None, name, arguments: self.list(")")? }),
            false => Ok(Syntax::Name(name)),
        }
    }

    fn enclosed(&mut self) -> Parsed {
        if self.take("(") {
            let inner = self.nested(Parser::expression)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take("[") {
            return self.list("]").map(Syntax::List);
        }
        if self.take("{") {
            let what = "an expression makes one value, not an object; set each field on its own";
            return Err((self.at(), what.to_owned()));
        }
        Err(self.unexpected("a value"))
    }

    /// Items with commas between them, and one behind them if need be, up to a closing sign.
    fn list(&mut self, closing: &str) -> Result<Vec<Syntax>, Fault> {
        let mut items = Vec::new();
        while !self.take(closing) {
            items.push(self.nested(Parser::expression)?);
            if !self.take(",") {
                self.expect(closing)?;
                break;
            }
        }
        Ok(items)
    }
}

fn balanced(operator: Binary, mut operands: Vec<Syntax>) -> Syntax {
    let right = operands.split_off(operands.len().div_ceil(2));
    if right.is_empty() {
        return operands.pop().unwrap_or(Syntax::Null);
    }
    let (left, right) = (balanced(operator, operands), balanced(operator, right));
    Syntax::Binary(operator, Box::new(left), Box::new(right))
}
