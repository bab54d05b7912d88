//! Text as tokens: what was written, and its plain form for comparing.

use unicode_normalization::UnicodeNormalization;

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters.
    Word,
    /// ASCII or full-width digits, with `.`, `,` or `'` only before a digit.
    Number,
    /// One character of anything else.
    Sign,
}

/// A piece of the text.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Lower case, without accents.
    pub(super) plain: String,
    /// Where it is in the text, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Does it touch the token before?
    pub(super) glued: bool,
}

impl Token {
    pub(super) fn is(&self, plain: &str) -> bool {
        self.plain == plain
    }
    /// Is it a word of the list, which is written as one text?
    pub(super) fn is_in(&self, list: &str) -> bool {
        listed(list, &self.plain)
    }
    pub(super) fn is_any(&self, plains: &[&str]) -> bool {
        plains.contains(&self.plain.as_str())
    }
}

/// Is the word in a list of words, written as one text with spaces or commas between?
pub(super) fn listed(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split([' ', ',']).any(|known| known == word)
}

/// Lower case, no accents: "¿Cuánto?" and "cuanto" meet here.
pub(crate) fn plain(text: &str) -> String {
    text.nfkd()
        .filter(|c| !unicode_normalization::char::is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect()
}

/// A digit as people type it. Superscripts, fractions and other scripts are not: `5²` is not 52.
fn digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '\u{ff10}'..='\u{ff19}' => char::from_digit(u32::from(c) - 0xff10, 10),
        _ => None,
    }
}

/// Is it part of a word? Letters, and the accents that follow them when written apart.
fn letter(c: char) -> bool {
    c.is_alphabetic() || unicode_normalization::char::is_combining_mark(c)
}

/// Cuts a text into tokens. Digits and letters that touch are two tokens: `2mil`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let at = |i: usize| chars.get(i).map(|pair| pair.1);
    let place = |i: usize| chars.get(i).map_or(text.len(), |pair| pair.0);
    let mut out: Vec<Token> = Vec::new();
    let mut i = 0;
    while let Some(c) = at(i) {
        let first = i;
        let leading_point = c == '.'
            && at(i + 1).and_then(digit).is_some()
            && !(i > 0 && at(i - 1).is_some_and(|before| before.is_alphanumeric() || before == '.'));
        let (kind, plain) = if c.is_whitespace() {
            i += 1;
            continue;
        } else if digit(c).is_some() || leading_point {
            i += 1;
            while at(i).and_then(digit).is_some()
                || at(i).is_some_and(|c| matches!(c, '.' | ',' | '\'' | '’'))
                    && at(i + 1).and_then(digit).is_some()
            {
                i += 1;
            }
            let shown = |(_, c): &(usize, char)| digit(*c).unwrap_or(if *c == '’' { '\'' } else { *c });
            (Kind::Number, chars[first..i].iter().map(shown).collect())
        } else if letter(c) {
            while at(i).is_some_and(letter) {
                i += 1;
            }
            (Kind::Word, plain(&text[place(first)..place(i)]))
        } else {
            i += 1;
            (Kind::Sign, plain(&text[place(first)..place(i)]))
        };
        let start = place(first);
        let glued = out.last().is_some_and(|before| before.end == start);
        out.push(Token { kind, plain, start, end: place(i), glued });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.plain).collect()
    }

    #[test]
    fn text_is_cut_where_people_see_a_cut() {
        assert_eq!(cut("¿Pásale $1,250.50 a María?"), ["¿", "pasale", "$", "1,250.50", "a", "maria", "?"]);
        assert_eq!(cut("2mil US$20. -5 .50"), ["2", "mil", "us", "$", "20", ".", "-", "5", ".50"]);
        assert_eq!(cut("２００ 5² ٣"), ["200", "5", "2", "٣"]);
        assert_eq!(tokens("5²")[1].kind, Kind::Sign);
        assert!(cut(" \u{a0}\n").is_empty());
    }

    #[test]
    fn tokens_point_back_at_what_was_written() {
        let text = "a la señora Peña";
        let shown: Vec<_> = tokens(text).iter().map(|t| &text[t.start..t.end]).collect();
        assert_eq!(shown, ["a", "la", "señora", "Peña"]);
    }
}
