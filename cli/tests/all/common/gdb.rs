//! gdb's values as JSON, so that they can be compared with those of `shmshim show --type … --json`.

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

/// Whether there is a gdb; if not, says that the test is skipped.
pub fn is_there() -> bool {
    let there = Command::new("gdb").arg("--version").output().is_ok();
    if !there {
        println!("skipped: there is no gdb");
    }
    there
}

/// What gdb prints of these expressions, of the data in the program's file.
pub fn print(program: &Path, expressions: &[&str]) -> Vec<Value> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch"]);
    for setting in ["repeats unlimited", "elements unlimited", "vtbl off"] {
        gdb.args(["-ex", &format!("set print {setting}")]);
    }
    for expression in expressions {
        gdb.args(["-ex", &format!("print {expression}")]);
    }
    let output = gdb.arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let values: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with('$'))
        .map(|line| {
            let (_, value) = line.split_once(" = ").unwrap();
            Parser { rest: value }.value()
        })
        .collect();
    assert_eq!(values.len(), expressions.len(), "{text}");
    values
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn take(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Value {
        if self.take("{") {
            return self.items();
        }
        if self.take("\"") {
            return self.string();
        }
        scalar(&self.token())
    }

    /// Up to a comma or a brace that is not quoted and stands in no angle brackets.
    fn token(&mut self) -> String {
        let (mut token, mut depth) = (String::new(), 0);
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                ',' | '}' if depth == 0 => {
                    self.rest = &self.rest[at..];
                    return token;
                }
                '<' => depth += 1,
                '>' => depth -= 1,
                '\'' => {
                    // A quoted character: what it looks like does not matter.
                    while let Some((_, letter)) = letters.next() {
                        match letter {
                            '\\' => drop(letters.next()),
                            '\'' => break,
                            _ => {}
                        }
                    }
                    continue;
                }
                _ => {}
            }
            token.push(letter);
        }
        self.rest = "";
        token
    }

    fn name(&mut self) -> Option<String> {
        let (name, rest) = self.rest.split_once(" = ")?;
        let is_name = name.starts_with('<') && name.ends_with('>')
            || name
                .chars()
                .all(|letter| letter.is_alphanumeric() || "_.$".contains(letter));
        is_name.then(|| {
            self.rest = rest;
            name.to_owned()
        })
    }

    /// The members of a record or the elements of an array, which is what has no names.
    fn items(&mut self) -> Value {
        let mut items: Vec<(Option<String>, Value)> = Vec::new();
        if self.take("<No data fields>}") {
            return json!({});
        }
        while !self.take("}") {
            let name = self.name();
            items.push((name, self.value()));
            self.take(", ");
        }
        if items.iter().all(|(name, _)| name.is_none()) {
            return items.into_iter().map(|(_, value)| value).collect();
        }
        let mut members = Map::new();
        for (name, value) in items {
            match (name, value) {
                (Some(name), value) => drop(members.insert(name, value)),
                (None, Value::Object(inner)) => members.extend(inner),
                (None, value) => panic!("{value} has no name"),
            }
        }
        Value::Object(members)
    }

    fn string(&mut self) -> Value {
        let mut bytes = Vec::new();
        let text = self.rest.as_bytes();
        let mut at = 0;
        while text[at] != b'"' {
            if text[at] != b'\\' {
                bytes.push(text[at]);
                at += 1;
                continue;
            }
            let (byte, len) = match text[at + 1] {
                b'0'..=b'7' => {
                    let digits = std::str::from_utf8(&text[at + 1..at + 4]).unwrap();
                    (u8::from_str_radix(digits, 8).unwrap(), 4)
                }
                b'n' => (b'\n', 2),
                b't' => (b'\t', 2),
                b'r' => (b'\r', 2),
                other => (other, 2),
            };
            bytes.push(byte);
            at += len;
        }
        self.rest = &self.rest[at + 1..];
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(error) => json!(error.into_bytes()),
        }
    }
}

fn scalar(token: &str) -> Value {
    let token = token.trim();
    // A reference with its value, a pointer with its type.
    let token = token.strip_prefix('@').unwrap_or(token);
    let token = match token.split_once(") 0x") {
        Some((_, address)) => format!("0x{address}"),
        None => token.to_owned(),
    };
    if let Some(address) = token.strip_prefix("0x") {
        let (digits, symbol) = address.split_once(" <").unwrap_or((address, ""));
        let digits = digits.split(':').next().unwrap();
        let symbol = symbol.strip_suffix('>').map(|symbol| json!(symbol));
        return json!({
            "address": u64::from_str_radix(digits, 16).unwrap(),
            "symbol": symbol,
        });
    }
    if let Some((real, imaginary)) = token.split_once(" + ") {
        let imaginary = imaginary.strip_suffix('i').unwrap();
        return json!([number(real), number(imaginary)]);
    }
    number(&token)
}

/// A number, a truth value, or a name without the scopes around it.
fn number(token: &str) -> Value {
    // `97 'a'`, of which the quotes are gone, `120 u'x'`.
    let first = token.split(' ').next().unwrap();
    let is_number = first.starts_with(|letter: char| letter == '-' || letter.is_ascii_digit());
    match first {
        "true" => json!(true),
        "false" => json!(false),
        _ if is_number => {
            if let Ok(number) = first.parse::<i64>() {
                json!(number)
            } else if let Ok(number) = first.parse::<u64>() {
                json!(number)
            } else if first.contains(['.', 'e']) {
                json!(first.parse::<f64>().unwrap())
            } else {
                json!(first)
            }
        }
        _ if token.starts_with('(') => json!(token),
        _ => json!(token.rsplit("::").next().unwrap()),
    }
}

/// Whether two values are the same; floating-point numbers as far as gdb prints their digits.
pub fn are_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= 1e-7 * one.abs()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| are_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other.get(name).is_some_and(|other| are_same(value, other))
                })
        }
        _ => one == other,
    }
}
